//! # A simulated world of database replicas, and the model that judges them
//!
//! [`play`] makes a world out of a seed: two to eight devices with disks that lose what was not synced, clocks that are hours off and go
//! back, partitions, blocks that are lost, repeated and come in any order, members who join, come back from a backup and are cut.
//! Then everybody hears everything, and all copies must be equal to each other and to the [`Model`], which works the database out by
//! its definition: a write is visible when no entry that has seen it writes over it.
//!
//! For tests and torture only. It has no clock, file or thread: the same seed always plays the same.
//!
//! ```
//! let verdict = cloudpal_simulator::play(7, 100, cloudpal_simulator::History::Forgotten).unwrap();
//! assert!(verdict.copies >= 1);
//! ```

mod checkpoints;
mod device;
mod dice;
mod disk;
mod document;
mod judge;
mod model;
mod plan;
mod world;

pub use checkpoints::History;
pub use device::{Device, OnDisk};
pub use dice::Dice;
pub use disk::Disk;
pub use judge::{Flaw, Verdict, play, play_aloud, play_with};
pub use model::{Model, Row, Visible};
pub use world::{Counts, Trouble, World};
