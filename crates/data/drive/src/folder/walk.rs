//! All files and links of a folder, in the order in which a drive lists them.

use super::{FolderError, Local, LocalFolder, PART_PREFIX};
use crate::path::{DrivePath, Folder};
use rustix::fs::{Dir, FileType};
use std::io;

/// Walks a folder depth first, sorted by the bytes of whole paths. Links are found, never followed.
pub struct Walk<'f> {
    folder: &'f LocalFolder,
    keep: Box<dyn Fn(&str) -> bool + 'f>,
    /// What is still to be visited, last first.
    waiting: Vec<Waiting>,
}

/// Something found.
#[derive(Debug)]
pub enum Found {
    /// A file or link.
    File(DrivePath, Local),
    /// A file that an interrupted mirror left unfinished.
    Part(DrivePath),
    /// Something that a drive cannot hold.
    Left(Unnamed),
}

/// Something whose name a drive cannot hold, or that could not be looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Unnamed {
    /// The folder it is in.
    pub folder: Folder,
    /// Its name, made printable.
    pub name: String,
}

enum Waiting {
    Folder(Folder),
    File(DrivePath),
    Part(DrivePath),
    Left(Unnamed),
}

impl LocalFolder {
    /// Everything below `start` whose path `keep` answers with true; a folder that it drops is not entered.
    pub fn walk<'f>(&'f self, start: &Folder, keep: impl Fn(&str) -> bool + 'f) -> Walk<'f> {
        Walk { folder: self, keep: Box::new(keep), waiting: vec![Waiting::Folder(start.clone())] }
    }
}

impl Walk<'_> {
    /// Reads one folder and puts what is in it on the pile.
    fn enter(&mut self, folder: &Folder) -> io::Result<()> {
        let dir = match self.folder.open_at(folder) {
            Ok(dir) => dir,
            // Gone, or no folder any more, since it was seen.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        };
        let mut found = Vec::new();
        for item in Dir::read_from(&dir)? {
            let item = item?;
            let name = item.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let is_folder = match item.file_type() {
                FileType::Unknown => is_folder(&dir, item.file_name())?,
                kind => kind == FileType::Directory,
            };
            let mut order = name.to_vec();
            // What is in folder `a` comes after `a.txt`, since `.` is before `/`.
            order.extend(is_folder.then_some(b'/'));
            if let Some(next) = self.admit(folder, name, is_folder) {
                found.push((order, next));
            }
        }
        found.sort_by(|a, b| b.0.cmp(&a.0));
        self.waiting.extend(found.into_iter().map(|(_, next)| next));
        Ok(())
    }

    fn admit(&self, folder: &Folder, name: &[u8], is_folder: bool) -> Option<Waiting> {
        let path = std::str::from_utf8(name).ok().map(|name| folder.child(name));
        // A name with a backslash would be another path in the drive.
        match path.and_then(|path| DrivePath::from_key(path.as_bytes()).ok()) {
            Some(path) if !(self.keep)(path.as_str()) => None,
            Some(path) if name.starts_with(PART_PREFIX.as_bytes()) => Some(Waiting::Part(path)),
            Some(path) if is_folder => Folder::new(path.as_str()).ok().map(Waiting::Folder),
            Some(path) => Some(Waiting::File(path)),
            None => {
                Some(Waiting::Left(Unnamed { folder: folder.clone(), name: name.escape_ascii().to_string() }))
            }
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Found, FolderError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.waiting.pop()? {
                Waiting::Part(path) => return Some(Ok(Found::Part(path))),
                Waiting::Left(left) => return Some(Ok(Found::Left(left))),
                Waiting::File(path) => match self.folder.look(&path) {
                    Ok(Some(local)) => return Some(Ok(Found::File(path, local))),
                    // Gone since it was seen.
                    Ok(None) => {}
                    Err(error) => return Some(Err(error)),
                },
                Waiting::Folder(folder) => {
                    if let Err(source) = self.enter(&folder) {
                        let path = folder.to_string();
                        return Some(Err(FolderError::Io { doing: "list the folder", path, source }));
                    }
                }
            }
        }
    }
}

fn is_folder(dir: &std::os::fd::OwnedFd, name: &std::ffi::CStr) -> io::Result<bool> {
    let stat = rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
