//! A sleeping machine's memory and device state at rest.
//!
//! A part (memory or state) is one file:
//!
//! ```text
//! offset  bytes
//! 0       8        "CPseal1\n"
//! 8       1        part: 0 memory, 1 state
//! 9       32       salt, the same in both parts of one snapshot
//! 41      32       digest of the binding
//! 73      8        length of the plaintext, LE
//! 81      n        one bit a page of 4 KiB, bit 0 of byte 0 first: set when the page is not all zeros
//! 81+n    16       tag over everything before it
//! 97+n    ...      the pages that are set, in order, 64 to a chunk, each chunk AES-256-GCM with its tag
//! ```
//!
//! Part key = HKDF-SHA-256(salt, snapshot key, "cloudpal snapshot v1" | part | binding). No key ever
//! seals two snapshots, so a chunk's number serves as its nonce. Whatever is changed, cut off, added,
//! moved, or taken from another snapshot, part, pal or life fails a tag or a length check.

mod file;
mod header;

pub use file::Sealed;
pub(crate) use file::{OpenError, open, peek_salt, seal};
pub(crate) use header::{HeaderError, Part, PartKey, Salt, derive_bytes};
