//! Everything that is hashed, and what is signed. All hashes are BLAKE2b with 32 bytes out.
//!
//! Formulas: npm `hypercore-crypto` 3 `index.js` and `hypercore` 11.37.1 `lib/caps.js`.

use crate::Node;
use blake2b_simd::many::{HashManyJob, hash_many, update_many};
use blake2b_simd::{Params, State};

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
    blake2b(&[&header(value), value])
}

/// What is hashed in front of a body.
fn header(value: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[1..].copy_from_slice(&(value.len() as u64).to_le_bytes());
    header
}

const HEADER: usize = 9;

/// Bodies that are hashed side by side where the processor can.
pub(crate) const LANES: usize = 4;

/// Bodies up to this length are copied behind their header and hashed whole; for longer ones that would cost more
/// than it saves.
const SHORT: usize = 2048;
/// Bodies taken at a time, so that what is copied stays in the processor's cache.
const AT_ONCE: usize = 64;

/// The hashes of many bodies at once: several of them go through the processor's wide registers together.
pub(crate) fn leaves<T: AsRef<[u8]>>(bodies: &[T]) -> Vec<[u8; 32]> {
    let mut hashes = vec![[0; 32]; bodies.len()];
    for (bodies, hashes) in bodies.chunks(AT_ONCE).zip(hashes.chunks_mut(AT_ONCE)) {
        let pairs = || bodies.iter().map(AsRef::as_ref).zip(0..);
        let (short, long): (Vec<_>, Vec<_>) = pairs().partition(|(body, _)| body.len() <= SHORT);
        short_leaves(&short, hashes);
        long_leaves(&long, hashes);
    }
    hashes
}

fn short_leaves(bodies: &[(&[u8], usize)], hashes: &mut [[u8; 32]]) {
    let mut params = Params::new();
    params.hash_length(32);
    let mut input = Vec::with_capacity(bodies.iter().map(|(body, _)| body.len() + HEADER).sum());
    let mut ends = Vec::with_capacity(bodies.len());
    for (body, _) in bodies {
        input.extend_from_slice(&header(body));
        input.extend_from_slice(body);
        ends.push(input.len());
    }
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let mut jobs: Vec<HashManyJob<'_>> =
        starts.zip(&ends).map(|(start, end)| HashManyJob::new(&params, &input[start..*end])).collect();
    hash_many(&mut jobs);
    for ((_, place), job) in bodies.iter().zip(&jobs) {
        hashes[*place] = out(&job.to_hash());
    }
}

fn long_leaves(bodies: &[(&[u8], usize)], hashes: &mut [[u8; 32]]) {
    let mut states = vec![Params::new().hash_length(32).to_state(); bodies.len()];
    for (state, (body, _)) in states.iter_mut().zip(bodies) {
        state.update(&header(body));
    }
    update_many(states.iter_mut().zip(bodies.iter().map(|(body, _)| *body)));
    for ((_, place), state) in bodies.iter().zip(&states) {
        hashes[*place] = out(&state.finalize());
    }
}

/// The hash of a parent with `size` bytes below it.
pub fn parent(size: u64, left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    out(&Params::new().hash_length(32).hash(&family(size, left, right)))
}

/// The hashes of many parents at once: several of them go through the processor's wide registers together.
pub(crate) fn parents<'a>(
    families: impl Iterator<Item = (u64, &'a [u8; 32], &'a [u8; 32])>,
) -> Vec<[u8; 32]> {
    let mut params = Params::new();
    params.hash_length(32);
    let inputs: Vec<_> = families.map(|(size, left, right)| family(size, left, right)).collect();
    let mut jobs: Vec<_> = inputs.iter().map(|input| HashManyJob::new(&params, input)).collect();
    hash_many(&mut jobs);
    jobs.iter().map(|job| out(&job.to_hash())).collect()
}

/// What a parent is the hash of.
fn family(size: u64, left: &[u8; 32], right: &[u8; 32]) -> [u8; 73] {
    let mut input = [0; 73];
    input[0] = 1;
    input[1..9].copy_from_slice(&size.to_le_bytes());
    input[9..41].copy_from_slice(left);
    input[41..].copy_from_slice(right);
    input
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
        let bodies: Vec<Vec<u8>> = (0..300).map(|i| vec![i as u8; (i * 97) % 5000]).collect();
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
