//! Files that survive a kill between any two instructions: written beside their place, synced, renamed,
//! and the folder synced. Readable by their owner only.

use nix::unistd::Uid;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

/// Why a file in the configuration folder could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {} failed; check the disk's space and the folder's owner", path.display())]
pub struct FileError {
    doing: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FileError {
    move |source| FileError { doing, path: path.to_owned(), source }
}

/// Makes a folder that only its owner may enter, with those above it.
pub fn make_private_dir(dir: &Path) -> Result<(), FileError> {
    let new = !dir.exists();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("making folder", dir))?;
    if new {
        keep_owner(dir)?;
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(failed("closing folder", dir))
}

/// Puts `bytes` at `path`, whole or not at all, mode 0600.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let beside = path.with_added_extension("new");
    write_new(&beside, bytes)?;
    fs::rename(&beside, path).map_err(failed("replacing", path))?;
    sync_parent(path)
}

/// Writes a file that will be renamed to its place later.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    // A left-over of a killed program may have other rights: start from nothing.
    remove(path)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("making", path))?;
    keep_owner(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("writing", path))
}

/// What root makes in somebody's folder is theirs, or their own programs could not use it afterwards.
fn keep_owner(path: &Path) -> Result<(), FileError> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let parent = folder_of(path);
    let about = fs::metadata(parent).map_err(failed("looking at folder", parent))?;
    match about.uid() {
        0 => Ok(()),
        owner => lchown(path, Some(owner), Some(about.gid())).map_err(failed("giving away", path)),
    }
}

/// Renames durably.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(failed("renaming", from))?;
    sync_parent(to)
}

/// Removes a file durably; it may be gone already.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("removing", path)(error)),
    }
}

/// The file's bytes, or none if it is not there.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("reading", path)(error)),
    }
}

/// Paths in a folder, sorted; none if the folder is not there.
pub fn list(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("reading folder", dir)(error)),
    };
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(failed("reading folder", dir))?;
    paths.sort();
    Ok(paths)
}

/// Opens a file to be locked.
pub fn open_lock(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(failed("opening", path))?;
    keep_owner(path)?;
    Ok(file)
}

fn sync_parent(path: &Path) -> Result<(), FileError> {
    let parent = folder_of(path);
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed("syncing folder", parent))
}

/// The folder that a path is in. A bare name is in the current one, which `Path::parent` gives no name.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_and_privately_even_over_a_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(dir.path().join("secret.new"), "half a fi").unwrap();
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!dir.path().join("secret.new").exists());
    }

    #[test]
    fn root_leaves_no_files_of_its_own_in_somebodys_folder() {
        if !Uid::effective().is_root() {
            return; // Nobody else can give files away, so there is nothing to get wrong.
        }
        let dir = tempfile::tempdir().unwrap();
        lchown(dir.path(), Some(7301), Some(7301)).unwrap();
        let inner = dir.path().join("pals");
        make_private_dir(&inner).unwrap();
        write_private(&inner.join("one"), b"1").unwrap();
        open_lock(&dir.path().join("lock")).unwrap();
        for path in [inner.clone(), inner.join("one"), dir.path().join("lock")] {
            assert_eq!(fs::metadata(&path).unwrap().uid(), 7301, "{}", path.display());
        }
    }

    #[test]
    fn what_is_not_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(&dir.path().join("x")).unwrap().is_none());
        assert!(list(&dir.path().join("x")).unwrap().is_empty());
        remove(&dir.path().join("x")).unwrap();
    }
}
