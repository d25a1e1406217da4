//! The folder in which npm hypercore 9 keeps a log: no peer of today sends one, but a disk may still have it.

use bytes::Bytes;

/// `05 02 57 02`, version 0, entries of 40 bytes, then the name of the hash.
const TREE_HEADER: &[u8] = b"\x05\x02\x57\x02\x00\x00\x28\x07BLAKE2b";
const HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 40;

/// Why a folder gave no blocks.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoredError {
    /// The file is something else.
    #[error(
        "this is not the file `tree` of a log that hypercore 9 wrote: give the one beside its `data` and `key`"
    )]
    NotATree,
    /// The log was never fetched whole.
    #[error("block {block} is not in this folder: import from a peer's folder that has the whole log")]
    Missing {
        /// The block.
        block: u64,
    },
    /// The bytes are not those that were hashed.
    #[error("block {block} is damaged: import from another copy")]
    Damaged {
        /// The block.
        block: u64,
    },
}

/// The blocks of a log, from the files `tree` and `data` of its folder. Each is checked against its hash in the tree;
/// the owner's signature is not looked at.
pub fn stored_blocks(tree: &[u8], data: &Bytes) -> Result<Vec<Bytes>, StoredError> {
    if !tree.starts_with(TREE_HEADER) {
        return Err(StoredError::NotATree);
    }
    let entries = tree.get(HEADER_BYTES..).ok_or(StoredError::NotATree)?.chunks_exact(ENTRY_BYTES);
    let (mut blocks, mut start) = (Vec::new(), 0);
    // Leaves have the even numbers of the in-order tree.
    for (block, leaf) in entries.step_by(2).enumerate() {
        let block = block as u64;
        let (hash, size) = leaf.split_at(32);
        if hash.iter().all(|&byte| byte == 0) {
            return Err(StoredError::Missing { block });
        }
        let damaged = StoredError::Damaged { block };
        let end = usize::try_from(u64::from_be_bytes(size.try_into().unwrap_or_default())).ok();
        let end = end.and_then(|size| size.checked_add(start)).filter(|&end| end <= data.len());
        let body = data.slice(start..end.ok_or(StoredError::Damaged { block })?);
        if leaf_hash(size, &body) != hash {
            return Err(damaged);
        }
        start += body.len();
        blocks.push(body);
    }
    Ok(blocks)
}

/// A zero, the length as it is stored (big-endian, unlike in later hypercores) and the block.
fn leaf_hash(size: &[u8], body: &[u8]) -> [u8; 32] {
    let mut state = blake2b_simd::Params::new().hash_length(32).to_state();
    let hash = state.update(&[0]).update(size).update(body).finalize();
    let mut out = [0; 32];
    out.copy_from_slice(hash.as_bytes());
    out
}
