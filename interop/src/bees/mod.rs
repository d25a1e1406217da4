//! Random programs on a sorted map: what every peer lists, finds and remembers is the same, and what the
//! writer lists is what was put.

mod plan;
mod play;

pub use plan::Plan;
pub use play::play;
