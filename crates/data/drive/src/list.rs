//! Listing files, whole trees or folder by folder, and comparing versions.

use crate::checkout::{Checkout, Difference, FileEntry};
use crate::error::ReadError;
use crate::key;
use crate::path::{Folder, PathError};
use cloudpal_bee::{Range, Snapshot};

/// What is directly in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Child {
    /// A file or link.
    File(FileEntry),
    /// A folder with something in it.
    Folder(Folder),
}

/// What is directly in a folder, by and by; each takes one search of the map, however much a folder in it holds.
pub struct Children {
    map: Snapshot,
    /// What begins every key.
    prefix: String,
    /// What is still to be seen; none at the end.
    left: Option<Range>,
    end: String,
}

impl Checkout {
    /// All files and links below `folder`, in the order of their paths' bytes. A key or entry that cannot be read
    /// comes as an error, and the listing goes on after it.
    pub fn list(&self, folder: &Folder) -> impl Iterator<Item = Result<FileEntry, ReadError>> + use<> {
        self.map.range(key::range(folder)).map(|found| FileEntry::decode(found?))
    }

    /// Files, links and folders directly in `folder`. A name can be both a file and a folder.
    pub fn children(&self, folder: &Folder) -> Children {
        Children {
            map: self.map.clone(),
            prefix: key::prefix(folder),
            left: Some(key::range(folder)),
            end: key::end(folder),
        }
    }

    /// What is not the same below `folder` in the `other` version.
    pub fn diff(
        &self,
        other: &Self,
        folder: &Folder,
    ) -> impl Iterator<Item = Result<Difference, ReadError>> + use<> {
        self.map.diff(&other.map, key::range(folder)).map(|found| {
            let found = found?;
            let side = |entry: Option<cloudpal_bee::Entry>| entry.map(FileEntry::decode).transpose();
            Ok(Difference { left: side(found.left)?, right: side(found.right)? })
        })
    }
}

impl Children {
    fn advance(&mut self) -> Result<Option<Child>, ReadError> {
        let Some(range) = self.left.take() else { return Ok(None) };
        let Some(found) = self.map.range(range.limit(1)).next() else { return Ok(None) };
        let found = found?;
        let rest = found.key.strip_prefix(self.prefix.as_bytes()).unwrap_or_default();
        let Some(slash) = rest.iter().position(|&byte| byte == b'/') else {
            self.left = Some(Range::all().gt(&found.key).lt(&self.end));
            return FileEntry::decode(found).map(|file| Some(Child::File(file)));
        };
        let folder = &found.key[..self.prefix.len() + slash];
        self.left = Some(Range::all().gte([folder, b"0"].concat()).lt(&self.end));
        let name = key::path(folder)?;
        Folder::new(name.as_str()).map(|folder| Some(Child::Folder(folder))).map_err(ReadError::from)
    }
}

impl Iterator for Children {
    type Item = Result<Child, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

impl Child {
    /// The last part of its path.
    pub fn name(&self) -> &str {
        match self {
            Self::File(file) => file.path.name(),
            Self::Folder(folder) => folder.name(),
        }
    }
}

/// What a mirror or listing leaves out.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    below: Vec<Folder>,
}

impl Ignore {
    /// These files, and everything below these folders.
    pub fn paths<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, PathError> {
        names.into_iter().map(Folder::new).collect::<Result<_, _>>().map(|below| Self { below })
    }

    /// Whether `path`, of a file or folder, is left out.
    pub fn covers(&self, path: &str) -> bool {
        self.below.iter().any(|folder| {
            path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}
