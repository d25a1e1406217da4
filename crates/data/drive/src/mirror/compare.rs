//! Whether a file of a drive and one of a folder are the same.

use super::MirrorError;
use crate::checkout::{Checkout, FileEntry};
use crate::folder::{FolderError, Local, LocalFolder, same_target};
use std::io::{ErrorKind, Read};

/// How they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Same {
    Yes,
    /// But for the right to run it.
    ButRights,
    No,
}

/// Compares sizes first, then all bytes.
pub(super) fn compare(
    drive: &Checkout,
    file: &FileEntry,
    folder: &LocalFolder,
    local: &Local,
) -> Result<Same, MirrorError> {
    let (executable, length) = match (local, &file.entry.linkname) {
        (Local::Link(Ok(target)), Some(linkname)) => {
            return Ok(if same_target(&file.path, target, linkname) { Same::Yes } else { Same::No });
        }
        (Local::File { executable, length }, None) => (*executable, *length),
        _ => return Ok(Same::No),
    };
    if drive.byte_length(file)? != length || !equal_contents(drive, file, folder)? {
        return Ok(Same::No);
    }
    Ok(if executable == file.entry.executable { Same::Yes } else { Same::ButRights })
}

fn equal_contents(drive: &Checkout, file: &FileEntry, folder: &LocalFolder) -> Result<bool, MirrorError> {
    let mut local = folder.read(&file.path)?;
    let failed = |source| FolderError::Io { doing: "read", path: file.path.to_string(), source };
    let mut content = drive.read(file, 0..u64::MAX)?;
    let mut piece = Vec::new();
    while let Some(block) = content.next_block().map_err(file.blob_error())? {
        piece.resize(block.len(), 0);
        match local.read_exact(&mut piece) {
            Ok(()) if piece == block => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(failed(error).into()),
        }
    }
    Ok(local.read(&mut [0]).map_err(failed)? == 0)
}
