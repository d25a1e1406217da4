//! Programs of others that the image carries, deleted once nothing needs them: they would take room in
//! memory, and in every picture of it.

use std::fs;

/// A program in `/sbin`.
#[derive(Clone, Copy, Debug)]
pub enum Tool {
    /// Formats the data disk, at the first unlock.
    Mke2fs,
    /// Lays the firewall, at a cold boot.
    Nft,
}

/// Deletes a program, and the libraries with the last one: our own programs use none.
pub fn discard(tool: Tool) {
    let path = match tool {
        Tool::Mke2fs => "/sbin/mke2fs",
        Tool::Nft => "/sbin/nft",
    };
    if fs::remove_file(path).is_ok() && fs::remove_dir("/sbin").is_ok() {
        for libraries in ["/lib", "/lib64"] {
            let _ = fs::remove_dir_all(libraries);
        }
    }
}
