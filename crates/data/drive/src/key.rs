//! Keys of the map. npm hyperdrive keeps its files in the sub-database `files`, whose keys are the paths.

use crate::path::{DrivePath, Folder, PathError};
use cloudpal_bee::Range;

/// The sub-database.
pub(crate) const FILES: &str = "files";

/// What begins every key in the folder.
pub(crate) fn prefix(folder: &Folder) -> String {
    format!("{}/", folder.as_str())
}

/// The smallest key after everything in the folder: `0` is the byte after `/`.
pub(crate) fn end(folder: &Folder) -> String {
    format!("{}0", folder.as_str())
}

/// All keys in the folder.
pub(crate) fn range(folder: &Folder) -> Range {
    Range::all().gt(prefix(folder)).lt(end(folder))
}

/// The path that a key names.
pub(crate) fn path(key: &[u8]) -> Result<DrivePath, PathError> {
    DrivePath::from_key(key)
}
