//! What lies in the blocks of a writer's log. Everything is read by total functions: any bytes give a value or an error.

mod block;
mod checkpoint;
mod entry;
mod op;
mod seal;

pub use block::{Block, BlockError, Header, Part, parts};
pub use checkpoint::{CheckpointBlock, Chunk, Item, Items, PIECE, Tail, What, push_row};
pub use entry::{Condition, Entry, MAX_OPS};
pub use op::{Base, Op};
pub use seal::{EpochId, EpochKey, SealedKey};
pub(crate) use seal::{open_key, seal_key};
