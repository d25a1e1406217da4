//! A disk that remembers everything that was done to it.
//!
//! A FUSE file system (`mount`) stands below the real engine and keeps its files in memory. Every
//! call that changes something becomes an [`Op`] in a list; `record` keeps that list and lets chosen calls fail;
//! `crash` turns any point of the list into what could be on a disk that lost power there; `lay`
//! writes such an image into a real folder, where the engine is opened again.
//!
//! ```text
//! engine -> kernel -> mount -> record: [Op, Op, Op, ...]
//!                                         | cut anywhere
//!                                       crash: dropped, torn, reordered -> lay -> engine -> judge
//! ```

mod content;
mod crash;
mod lay;
mod mount;
mod record;
mod tree;

pub use crash::{Fate, History};
pub use mount::Mounted;
pub use record::{Fault, Recorder, Trouble};
pub use tree::{Node, Op, Tree};
