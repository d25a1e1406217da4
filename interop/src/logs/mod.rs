//! Random programs on one log: a writer, one or two readers, and everything that may happen to them.

mod plan;
mod play;
mod shape;

pub use plan::Plan;
pub use play::{Judge, Repairs, play};
pub use shape::{Flavour, Make, can_read, can_write};
