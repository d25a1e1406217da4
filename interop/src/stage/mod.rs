//! Peers as child processes that are told what to do, one JSON command a line.

mod cast;
mod child;
mod difference;
mod site;

pub use cast::{Cast, seed_of};
pub use child::Child;
pub use difference::difference;
pub use site::{Kind, Site};
