//! Placeholder.
pub mod guest;
