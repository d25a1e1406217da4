//! Random programs on a drive: every peer lists the same files with the same bytes, and what the writer
//! lists is what was put.

mod plan;
mod play;

pub use plan::{Plan, Privacy};
pub use play::play;
