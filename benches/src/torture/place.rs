//! Where things are put for a moment.

use anyhow::{Context as _, Result};
use std::path::Path;
use tempfile::TempDir;

/// A folder that goes away by itself, in memory where the machine has such a place: thousands of images are
/// written and opened, and what survives a loss of power was decided before.
pub fn fast_folder() -> Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let builder = || tempfile::Builder::new().prefix("cloudpal-torture-").to_owned();
    let made = if memory.is_dir() { builder().tempdir_in(memory) } else { builder().tempdir() };
    made.context("cannot make a temporary folder")
}
