//! Everything that is hashed, and what is signed. All hashes are BLAKE2b with 32 bytes out.
//!
//! Formulas: npm `hypercore-crypto` 3 `index.js` and `hypercore` 11.37.1 `lib/caps.js`.

use crate::Node;
use blake2b_simd::many::HashManyJob;
use blake2b_simd::{Params, State};
use bytes::Bytes;

/// `ns("hypercore", 0)`: what every signed tree begins with.
pub const TREE: [u8; 32] = hex("9fac70b50ca14efc4e91c833b204e75b8b5aad8b5881bfc0adb5ef38a3275b9c");
/// `ns("hypercore", 1)`: the initiator's capability.
pub const REPLICATE_INITIATOR: [u8; 32] =
    hex("51812a2a359b50369536775df89e18e47740f3db72ac0ae70b29594c194dc316");
/// `ns("hypercore", 2)`: the responder's capability.
pub const REPLICATE_RESPONDER: [u8; 32] =
    hex("0438492d02970cc13528ac0262bca0074e0926260256865accc0bf15bd79127d");
/// `ns("hypercore", 3)`: in front of a manifest when it is hashed.
pub const MANIFEST: [u8; 32] = hex("e64b7108eacce47cfc61ac850568f55f8b15b82ec5ed78c4ec597b036e2a1498");
/// `ns("hypercore", 4)`: the namespace of a signer that has none of its own.
pub const DEFAULT_NAMESPACE: [u8; 32] =
    hex("4144eea531e483d54e0c14f4ca68e0644f355343ff6fcb0f005200e12cd747cb");
/// `ns("hypercore", 5)`: in front of what a block key is derived from.
pub const DEFAULT_ENCRYPTION: [u8; 32] =
    hex("9aedb6f1dea8487cc1e1698f97eb2f063f6db4c649695622e7b675e2ceafa6e9");

/// BLAKE2b with 32 bytes out over the parts put end to end.
pub fn blake2b(parts: &[&[u8]]) -> [u8; 32] {
    finish(parts, Params::new().hash_length(32).to_state())
}

/// The same keyed with `key` (at most 64 bytes are used).
pub fn blake2b_keyed(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let key = &key[..key.len().min(blake2b_simd::KEYBYTES)];
    finish(parts, Params::new().hash_length(32).key(key).to_state())
}

fn finish(parts: &[&[u8]], mut state: State) -> [u8; 32] {
    for part in parts {
        state.update(part);
    }
    out(&state.finalize())
}

fn out(hash: &blake2b_simd::Hash) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(hash.as_bytes());
    out
}

/// Namespace `nth` of `name`, as `crypto.namespace(name, count)[nth]`.
pub fn namespace(name: &[u8], nth: u8) -> [u8; 32] {
    blake2b(&[&blake2b(&[name]), &[nth]])
}

/// What peers look for: tells who has a log without telling its key.
pub fn discovery_key(key: &[u8; 32]) -> [u8; 32] {
    blake2b_keyed(key, &[b"hypercore"])
}

/// The hash of a block's body. Leaf, parent and roots begin with different bytes, so that none can pass for another.
pub fn leaf(value: &[u8]) -> [u8; 32] {
    blake2b(&[&[0], &(value.len() as u64).to_le_bytes(), value])
}

/// Bodies up to this length are hashed several at a time; longer ones keep the processor busy alone, and copying
/// them behind their header would cost more than it saves.
const SHORT: usize = 4096;

/// The hashes of many bodies at once.
pub(crate) fn leaves(bodies: &[Bytes]) -> Vec<[u8; 32]> {
    let mut hashes = vec![[0; 32]; bodies.len()];
    let mut params = Params::new();
    params.hash_length(32);
    // Some chunk of the bodies at a time, so that what is copied stays in the cache.
    for (bodies, hashes) in bodies.chunks(64).zip(hashes.chunks_mut(64)) {
        let mut input = Vec::new();
        let mut short = Vec::with_capacity(bodies.len());
        for (place, body) in bodies.iter().enumerate() {
            if body.len() > SHORT {
                hashes[place] = leaf(body);
                continue;
            }
            let start = input.len();
            input.push(0);
            input.extend_from_slice(&(body.len() as u64).to_le_bytes());
            input.extend_from_slice(body);
            short.push((place, start..input.len()));
        }
        let mut jobs: Vec<HashManyJob<'_>> =
            short.iter().map(|(_, range)| HashManyJob::new(&params, &input[range.clone()])).collect();
        blake2b_simd::many::hash_many(&mut jobs);
        for ((place, _), job) in short.iter().zip(&jobs) {
            hashes[*place] = out(&job.to_hash());
        }
    }
    hashes
}

/// The hash of a parent with `size` bytes below it.
pub fn parent(size: u64, left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut input = [0; 73];
    input[0] = 1;
    input[1..9].copy_from_slice(&size.to_le_bytes());
    input[9..41].copy_from_slice(left);
    input[41..].copy_from_slice(right);
    out(&Params::new().hash_length(32).hash(&input))
}

/// The hash of a whole tree: its roots from the left.
pub fn tree(roots: &[Node]) -> [u8; 32] {
    let mut state = Params::new().hash_length(32).to_state();
    state.update(&[2]);
    for root in roots {
        state.update(&root.hash);
        state.update(&root.index.to_le_bytes());
        state.update(&root.size.to_le_bytes());
    }
    out(&state.finalize())
}

/// What a signer signs: `context` is the log's key, or the signer's namespace in a manifest of version 0.
pub fn signable(context: &[u8; 32], tree: &[u8; 32], length: u64, fork: u64) -> [u8; 112] {
    let mut signable = [0; 112];
    signable[..32].copy_from_slice(&TREE);
    signable[32..64].copy_from_slice(context);
    signable[64..96].copy_from_slice(tree);
    signable[96..104].copy_from_slice(&length.to_le_bytes());
    signable[104..].copy_from_slice(&fork.to_le_bytes());
    signable
}

/// What the signer of a compat log signs.
pub fn signable_compat(tree: &[u8; 32], length: u64, fork: u64) -> [u8; 80] {
    let mut signable = [0; 80];
    signable[..32].copy_from_slice(&TREE);
    signable[32..64].copy_from_slice(tree);
    signable[64..72].copy_from_slice(&length.to_le_bytes());
    signable[72..].copy_from_slice(&fork.to_le_bytes());
    signable
}

/// Proof that a peer knows the log's key, bound to one connection by its handshake's hash. `namespace` is
/// [`REPLICATE_INITIATOR`] or [`REPLICATE_RESPONDER`].
pub fn capability(namespace: &[u8; 32], key: &[u8; 32], handshake: &[u8; 64]) -> [u8; 32] {
    blake2b_keyed(handshake, &[namespace, key])
}

/// Hexadecimal digits at compile time.
const fn hex(hex: &str) -> [u8; 32] {
    const fn digit(c: u8) -> u8 {
        if c <= b'9' { c - b'0' } else { c - b'a' + 10 }
    }
    let hex = hex.as_bytes();
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < 32 {
        bytes[i] = digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]);
        i += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_hashes_are_as_each_alone() {
        let bodies: Vec<Bytes> = (0..300).map(|i| vec![i as u8; (i * 97) % 5000].into()).collect();
        let each: Vec<[u8; 32]> = bodies.iter().map(|body| leaf(body)).collect();
        assert_eq!(leaves(&bodies), each);
    }

    #[test]
    fn the_constants_are_the_namespaces() {
        let all =
            [TREE, REPLICATE_INITIATOR, REPLICATE_RESPONDER, MANIFEST, DEFAULT_NAMESPACE, DEFAULT_ENCRYPTION];
        for (nth, constant) in all.iter().enumerate() {
            assert_eq!(namespace(b"hypercore", nth as u8), *constant, "{nth}");
        }
    }
}
