//! Symbolic links between a drive and a folder: only links that stay inside are taken or made.

use crate::path::{DrivePath, Folder, PathError, shown};
use std::path::Path;

/// Why a symbolic link is left out of a mirror.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Its target is not inside.
    #[error(
        "it leads to `{}`, outside of what is mirrored: make it lead inside, or leave it out",
        shown(target)
    )]
    Outside {
        /// As it stands in the link.
        target: String,
    },
    /// A drive cannot say its target.
    #[error("its target `{target}` has characters that a drive cannot hold")]
    Target {
        /// As it stands in the link, made printable.
        target: String,
    },
}

/// The text of a link in a folder. It starts with as many `..` as it takes and has none later: the folders above
/// a link are real ones, so it cannot leave even if a folder on its way turns out to be a link.
pub(super) fn to_local(path: &DrivePath, linkname: &str) -> Result<String, LinkError> {
    let outside = || LinkError::Outside { target: linkname.into() };
    let target = resolve(path, linkname).map_err(|_| outside())?;
    if target.as_str().contains('\0') {
        return Err(LinkError::Target { target: linkname.escape_debug().to_string() });
    }
    let from = path.folder();
    let (from, to): (Vec<&str>, Vec<&str>) = (from.parts().collect(), target.parts().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", from.len() - common);
    let parts: Vec<&str> = up.chain(to[common..].iter().copied()).collect();
    Ok(if parts.is_empty() { ".".into() } else { parts.join("/") })
}

/// What the drive's entry says of a link in a folder: absolute targets inside the folder start at the drive's root,
/// as npm localdrive has it; relative ones stay as they are.
pub(super) fn from_local(path: &DrivePath, target: &[u8], root: &Path) -> Result<String, LinkError> {
    let refused = || LinkError::Target { target: target.escape_ascii().to_string() };
    let target = std::str::from_utf8(target).map_err(|_| refused())?;
    let drive_letter = target.split_once('/').is_some_and(|(first, _)| first.ends_with(':'));
    if target.is_empty() || target.contains('\\') || drive_letter {
        return Err(refused());
    }
    let outside = || LinkError::Outside { target: target.into() };
    let name = match Path::new(target).strip_prefix(root) {
        Ok(inside) => format!("/{}", inside.to_str().ok_or_else(refused)?),
        Err(_) if target.starts_with('/') => return Err(outside()),
        Err(_) => target.into(),
    };
    resolve(path, &name).map(|_| name).map_err(|_| outside())
}

/// Whether two targets lead from `path` to the same place.
pub(crate) fn same(path: &DrivePath, a: &str, b: &str) -> bool {
    a == b || matches!((resolve(path, a), resolve(path, b)), (Ok(a), Ok(b)) if a == b)
}

/// Like [`DrivePath::follow`]; a link may also lead to the root.
fn resolve(path: &DrivePath, target: &str) -> Result<Folder, PathError> {
    match path.follow(target) {
        Ok(path) => Folder::new(path.as_str()),
        Err(PathError::Root { .. }) => Ok(Folder::root()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> DrivePath {
        DrivePath::new(name).unwrap()
    }

    #[test]
    fn links_are_made_relative_and_stay_inside() {
        let made = |at, target| to_local(&path(at), target).unwrap();
        assert_eq!(made("/l", "/docs/a"), "docs/a");
        assert_eq!(made("/docs/l", "/a"), "../a");
        assert_eq!(made("/docs/l", "a"), "a");
        assert_eq!(made("/x/y/l", "/x/z/q"), "../z/q");
        assert_eq!(made("/x/y/l", "c/../../q"), "../q");
        assert_eq!(made("/l", "/"), ".");
        assert_eq!(made("/x/y/l", "/"), "../..");
        for target in ["..", "../x", "/..", "a/../../b", "../../../etc/passwd"] {
            assert!(matches!(to_local(&path("/l"), target), Err(LinkError::Outside { .. })), "{target}");
        }
        assert!(to_local(&path("/l"), "a\0b").is_err());
    }

    #[test]
    fn links_are_taken_only_when_they_stay_inside() {
        let taken =
            |target: &str| from_local(&path("/docs/l"), target.as_bytes(), Path::new("/home/me/files"));
        assert_eq!(taken("../a").as_deref(), Ok("../a"));
        assert_eq!(taken("/home/me/files/a").as_deref(), Ok("/a"));
        for target in ["/etc/passwd", "/home/me/files2/a", "../../a", "/home/me/files/../x"] {
            assert!(matches!(taken(target), Err(LinkError::Outside { .. })), "{target}");
        }
        assert!(matches!(taken("a\\b"), Err(LinkError::Target { .. })));
        assert!(from_local(&path("/l"), b"\xff", Path::new("/")).is_err());
    }
}
