//! Names of files in a drive, resolved as npm `unix-path-resolve` does it for hyperdrive.

use std::fmt;

/// Where a file is in a drive: `/docs/readme.md`. Starts with `/`, never ends with one, and has no
/// empty, `.` or `..` part, so it can be taken apart without surprises.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DrivePath(String);

/// A folder of a drive. A drive has no folders of its own: one is there as long as a file is in it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Folder(String);

/// Why a name cannot be a file's place in a drive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// More `..` than there are folders.
    #[error("`{}` leads above the drive's root: take out a `..`", shown(name))]
    AboveRoot {
        /// As it was given.
        name: String,
    },
    /// The root is a folder, never a file.
    #[error("`{}` names the drive's root, which is no file: add a file name", shown(name))]
    Root {
        /// As it was given.
        name: String,
    },
    /// A key of the map that hyperdrive would never have written.
    #[error("the drive holds the key `{name}`, which is no file name; its writer is faulty or hostile")]
    Key {
        /// The key, made printable.
        name: String,
    },
}

impl DrivePath {
    /// Resolves `name` against the root: both slashes separate, `C:\a`, `file:///a` and `http://host/a` all
    /// mean `/a`, as in JS.
    pub fn new(name: &str) -> Result<Self, PathError> {
        match resolve(name)? {
            root if root.is_empty() => Err(PathError::Root { name: name.into() }),
            path => Ok(Self(path)),
        }
    }

    /// A name as it stands in the map: only what [`DrivePath::new`] leaves as it is.
    pub(crate) fn from_key(key: &[u8]) -> Result<Self, PathError> {
        let bad = || PathError::Key { name: key.escape_ascii().to_string() };
        let name = std::str::from_utf8(key).map_err(|_| bad())?;
        match Self::new(name) {
            Ok(path) if path.0 == name => Ok(path),
            _ => Err(bad()),
        }
    }

    /// The whole path, with its leading `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts between the slashes, outermost first; at least one.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0[1..].split('/')
    }

    /// The last part.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The folder it is in.
    pub fn folder(&self) -> Folder {
        let end = self.0.rfind('/').unwrap_or_default();
        Folder(self.0[..end].into())
    }

    /// Where a symbolic link at this path leads: absolute targets start at the drive's root, others at the
    /// link's folder, as in a file system. (npm hyperdrive's `follow` starts relative ones at the link
    /// itself, where no file can be; its mirror to a folder means what we do.)
    pub fn follow(&self, target: &str) -> Result<Self, PathError> {
        let (absolute, parts) = split(target);
        let start = if absolute { String::new() } else { self.folder().0 };
        match join(start, parts, target)? {
            root if root.is_empty() => Err(PathError::Root { name: target.into() }),
            path => Ok(Self(path)),
        }
    }
}

impl Folder {
    /// The whole drive.
    pub fn root() -> Self {
        Self(String::new())
    }

    /// Resolves `name` like [`DrivePath::new`]; the root is allowed.
    pub fn new(name: &str) -> Result<Self, PathError> {
        resolve(name).map(Self)
    }

    /// The path without a slash at its end: empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Whether `path` is somewhere below this folder.
    pub fn contains(&self, path: &DrivePath) -> bool {
        path.0.strip_prefix(self.0.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The parts between the slashes, outermost first; none of the root.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1)
    }

    /// The path of a file or folder directly inside; `name` is taken as one part, not resolved.
    pub fn child(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }
}

impl fmt::Display for DrivePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DrivePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl std::str::FromStr for DrivePath {
    type Err = PathError;

    fn from_str(name: &str) -> Result<Self, PathError> {
        Self::new(name)
    }
}

/// A name that someone else chose, for a message: nothing in it moves a terminal's cursor.
pub(crate) fn shown(name: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_unicode().to_string() } else { c.to_string() };
    name.chars().map(escape).collect()
}

fn resolve(name: &str) -> Result<String, PathError> {
    join(String::new(), split(name).1, name)
}

/// Whether the name is absolute, and its parts; drive letters and URL hosts are dropped.
fn split(name: &str) -> (bool, Vec<&str>) {
    let mut parts: Vec<&str> = name.split(['/', '\\']).collect();
    let first = parts[0];
    if parts.len() > 1 && first.ends_with(':') {
        let letter = first.encode_utf16().count() == 2;
        let dropped = if letter || first == "file:" { 1 } else { 3.min(parts.len()) };
        parts.drain(..dropped);
        return (true, parts);
    }
    (name.starts_with(['/', '\\']), parts)
}

fn join(mut path: String, parts: Vec<&str>, name: &str) -> Result<String, PathError> {
    for part in parts {
        match part {
            "" | "." => {}
            ".." => match path.rfind('/') {
                Some(end) => path.truncate(end),
                None => return Err(PathError::AboveRoot { name: name.into() }),
            },
            part => {
                path.push('/');
                path.push_str(part);
            }
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(name: &str) -> String {
        DrivePath::new(name).unwrap().0
    }

    // Each answer was taken from npm unix-path-resolve 1.0.2.
    #[test]
    fn resolves_as_js() {
        assert_eq!(ok("a"), "/a");
        assert_eq!(ok("/a/./b//c/"), "/a/b/c");
        assert_eq!(ok("one/../two"), "/two");
        assert_eq!(ok(r"a\b"), "/a/b");
        assert_eq!(ok(r"C:\a\b"), "/a/b");
        assert_eq!(ok("file:///a"), "/a");
        assert_eq!(ok("http://host/a"), "/a");
        assert_eq!(ok("a:"), "/a:");
        assert!(matches!(DrivePath::new("../a"), Err(PathError::AboveRoot { .. })));
        assert!(matches!(DrivePath::new("a/.."), Err(PathError::Root { .. })));
        assert!(matches!(DrivePath::new(""), Err(PathError::Root { .. })));
    }

    #[test]
    fn links_start_at_their_folder() {
        let link = DrivePath::new("/docs/link").unwrap();
        assert_eq!(link.follow("readme.md").unwrap().as_str(), "/docs/readme.md");
        assert_eq!(link.follow("../a").unwrap().as_str(), "/a");
        assert_eq!(link.follow("/a").unwrap().as_str(), "/a");
        assert!(link.follow("../../etc/passwd").is_err());
    }

    #[test]
    fn keys_that_hyperdrive_never_writes_are_refused() {
        for key in [&b"a"[..], b"/", b"", b"/a/", b"//a", b"/a/../b", b"/./a", b"/a\\b", b"/\xff"] {
            assert!(DrivePath::from_key(key).is_err(), "{}", key.escape_ascii());
        }
        assert_eq!(DrivePath::from_key("/über/x".as_bytes()).unwrap().name(), "x");
    }

    #[test]
    fn folders() {
        let docs = Folder::new("docs/").unwrap();
        assert!(docs.contains(&DrivePath::new("/docs/a").unwrap()));
        assert!(!docs.contains(&DrivePath::new("/docs2").unwrap()));
        assert!(Folder::root().contains(&DrivePath::new("/docs").unwrap()));
        assert_eq!(DrivePath::new("/docs/a").unwrap().folder(), docs);
        assert_eq!(DrivePath::new("/a").unwrap().folder(), Folder::root());
    }
}
