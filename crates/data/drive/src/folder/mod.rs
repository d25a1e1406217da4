//! A folder of this machine as one side of a mirror. Nothing outside of it is ever written: each part of a path is
//! opened by itself and symbolic links are not followed, so a link planted inside leads nowhere.

mod links;
mod walk;

pub use links::LinkError;
pub(crate) use links::same as same_target;
pub use walk::{Found, Unnamed, Walk};

use crate::path::{DrivePath, Folder, shown};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Names that are kept for files not yet complete. A mirror neither takes nor makes such names.
pub(crate) const PART_PREFIX: &str = ".cloudpal-part-";
/// Longest name that file systems in common use take, in bytes.
const MAX_NAME: usize = 255;
/// Longest whole path that other programs can open, in bytes: PATH_MAX of Linux with its zero byte.
const MAX_PATH: usize = 4095;

/// An open folder.
pub struct LocalFolder {
    root: PathBuf,
    dir: OwnedFd,
}

/// What the folder has at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// A regular file.
    File {
        /// Whether its owner may run it.
        executable: bool,
        /// Its bytes.
        length: u64,
    },
    /// A symbolic link and where it leads, as the drive would say it.
    Link(Result<String, LinkError>),
    /// A folder.
    Folder,
    /// A device, pipe or socket.
    Other,
}

/// Why a file of the folder could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// What the operating system said.
    #[error("cannot {doing} `{}`", shown(path))]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// Part of the path is a link or file, and writing through it could leave the folder.
    #[error(
        "`{path}` is in the way as a link or file where a folder is needed: move it away, then mirror again"
    )]
    Through {
        /// The part in the way.
        path: String,
    },
    /// A folder stands where a file should be.
    #[error("a folder is in the way at `{}`: move it away, then mirror again", shown(path))]
    Occupied {
        /// Where.
        path: String,
    },
    /// No file system takes the name.
    #[error(
        "no file here can be called `{path}`: its name is too long, kept for CloudPal or holds a zero byte"
    )]
    Name {
        /// The name in the drive.
        path: String,
    },
    /// A link that would lead outside.
    #[error("cannot make the link `{}`", shown(path))]
    Link {
        /// The link.
        path: String,
        /// Why not.
        source: LinkError,
    },
}

impl FolderError {
    /// Whether one file is to blame, so that a mirror goes on after it.
    pub fn is_of_one_file(&self) -> bool {
        match self {
            Self::Through { .. } | Self::Occupied { .. } | Self::Name { .. } | Self::Link { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
        }
    }
}

impl LocalFolder {
    /// Opens a folder that is there.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, FolderError> {
        let path = root.as_ref();
        let error =
            |source| FolderError::Io { doing: "open the folder", path: path.display().to_string(), source };
        let root = path.canonicalize().map_err(error)?;
        let dir =
            rustix::fs::open(&root, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty());
        Ok(Self { dir: dir.map_err(|e| error(e.into()))?, root })
    }

    /// Opens a folder, made if it is not there.
    pub fn create(root: impl AsRef<Path>) -> Result<Self, FolderError> {
        let path = root.as_ref();
        let error =
            |source| FolderError::Io { doing: "make the folder", path: path.display().to_string(), source };
        std::fs::create_dir_all(path).map_err(error)?;
        Self::open(path)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is at `path`; none if there is nothing, or no way to it without a link.
    pub fn look(&self, path: &DrivePath) -> Result<Option<Local>, FolderError> {
        let Ok((dir, name)) = self.check_name(path).and_then(|()| self.parent(path)) else { return Ok(None) };
        self.look_at(&dir, name, path).map_err(io_error("look at", path))
    }

    /// Opens the regular file at `path`.
    pub fn read(&self, path: &DrivePath) -> Result<File, FolderError> {
        let (dir, name) = self.parent(path)?;
        // Without NONBLOCK a pipe put in the file's place would make us wait for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = || -> io::Result<File> {
            let file = File::from(rustix::fs::openat(&dir, name, flags, Mode::empty())?);
            if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
        };
        open().map_err(io_error("read", path))
    }

    /// Writes a file: `fill` gets an empty one under another name, which takes the place of what was at `path` only when
    /// all went well.
    pub fn write<E: From<FolderError>>(
        &self,
        path: &DrivePath,
        permission: Permission,
        fill: impl FnOnce(&mut File) -> Result<(), E>,
    ) -> Result<(), E> {
        let (dir, name) = self.make_parent(path)?;
        let part = part_name(name);
        let fail = |e: rustix::io::Errno| FolderError::Io {
            doing: "write",
            path: path.to_string(),
            source: e.into(),
        };
        // Left by a mirror that was interrupted.
        let _ = rustix::fs::unlinkat(&dir, &part, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&dir, &part, flags, permission.mode()).map_err(fail)?);
        let done = fill(&mut file).and_then(|()| Ok(put_in_place(&dir, &part, name, path)?));
        if done.is_err() {
            let _ = rustix::fs::unlinkat(&dir, &part, AtFlags::empty());
        }
        done
    }

    /// Gives or takes the right to run the file at `path`, for all who may read it.
    pub fn permit(&self, path: &DrivePath, permission: Permission) -> Result<(), FolderError> {
        let file = self.read(path)?;
        let change = || -> io::Result<()> {
            let mode = Mode::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
            let readers = Mode::from_bits_truncate((mode & READ_ALL).bits() >> 2);
            let mode = match permission {
                Permission::Executable => mode | readers,
                Permission::Plain => mode - RUN_ALL,
            };
            Ok(rustix::fs::fchmod(&file, mode)?)
        };
        change().map_err(io_error("change the rights of", path))
    }

    /// Makes a symbolic link to where `linkname` leads in the drive, written relative to the link, so that it works
    /// wherever the folder is moved.
    pub fn link(&self, path: &DrivePath, linkname: &str) -> Result<(), FolderError> {
        let refused = |source| FolderError::Link { path: path.to_string(), source };
        let target = links::to_local(path, linkname).map_err(refused)?;
        let (dir, name) = self.make_parent(path)?;
        let part = part_name(name);
        let _ = rustix::fs::unlinkat(&dir, &part, AtFlags::empty());
        rustix::fs::symlinkat(&target, &dir, &part).map_err(|e| io_error("make the link", path)(e.into()))?;
        put_in_place(&dir, &part, name, path)
    }

    /// Whether a file here can have the name at all.
    pub fn check_name(&self, path: &DrivePath) -> Result<(), FolderError> {
        let usable =
            |name: &str| name.len() <= MAX_NAME && !name.contains('\0') && !name.starts_with(PART_PREFIX);
        let length = self.root.as_os_str().len() + path.as_str().len();
        match length <= MAX_PATH && path.parts().all(usable) {
            true => Ok(()),
            false => Err(FolderError::Name { path: path.to_string() }),
        }
    }

    /// Whether [`link`](Self::link) would take the target.
    pub fn check_link(&self, path: &DrivePath, linkname: &str) -> Result<(), FolderError> {
        let refused = |source| FolderError::Link { path: path.to_string(), source };
        links::to_local(path, linkname).map(drop).map_err(refused)
    }

    /// Removes the file or link at `path`, and the folders that are empty then. Nothing there is no error.
    pub fn remove(&self, path: &DrivePath) -> Result<(), FolderError> {
        let Ok((dir, name)) = self.parent(path) else { return Ok(()) };
        match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(io_error("remove", path)(e.into())),
        }
        let mut folder = path.folder();
        while let Ok(empty) = DrivePath::new(folder.as_str()) {
            let Ok((dir, name)) = self.parent(&empty) else { break };
            if rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR).is_err() {
                break;
            }
            folder = empty.folder();
        }
        Ok(())
    }

    fn look_at(&self, dir: &OwnedFd, name: &str, path: &DrivePath) -> io::Result<Option<Local>> {
        let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Local::File {
                executable: Mode::from_raw_mode(stat.st_mode).contains(Mode::XUSR),
                length: u64::try_from(stat.st_size).unwrap_or_default(),
            },
            FileType::Directory => Local::Folder,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
                Local::Link(links::from_local(path, target.as_bytes(), &self.root))
            }
            _ => Local::Other,
        }))
    }

    /// The open folder that holds `path`, reached without a link.
    fn parent<'p>(&self, path: &'p DrivePath) -> Result<(OwnedFd, &'p str), FolderError> {
        self.descend(path, |_, _| Ok(()))
    }

    /// Like [`parent`](Self::parent); folders that are missing are made.
    fn make_parent<'p>(&self, path: &'p DrivePath) -> Result<(OwnedFd, &'p str), FolderError> {
        let usable =
            |name: &str| name.len() <= MAX_NAME && !name.contains('\0') && !name.starts_with(PART_PREFIX);
        if !path.parts().all(usable) {
            return Err(FolderError::Name { path: path.to_string() });
        }
        self.descend(path, |dir, name| match rustix::fs::mkdirat(dir, name, READ_ALL | WRITE_ALL | RUN_ALL) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(e) => Err(io_error("make the folder of", path)(e.into())),
        })
    }

    fn descend<'p>(
        &self,
        path: &'p DrivePath,
        before: impl Fn(&OwnedFd, &str) -> Result<(), FolderError>,
    ) -> Result<(OwnedFd, &'p str), FolderError> {
        let mut dir = self.dir.try_clone().map_err(io_error("open the folder of", path))?;
        let folder = path.folder();
        for part in folder.parts() {
            before(&dir, part)?;
            dir = open_folder(&dir, part).map_err(|e| match e {
                rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => {
                    FolderError::Through { path: path.to_string() }
                }
                e => io_error("open the folder of", path)(e.into()),
            })?;
        }
        Ok((dir, path.name()))
    }

    fn open_at(&self, folder: &Folder) -> rustix::io::Result<OwnedFd> {
        let mut dir = open_folder(&self.dir, ".")?;
        for part in folder.parts() {
            dir = open_folder(&dir, part)?;
        }
        Ok(dir)
    }
}

/// Whether a file may be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Read and written only.
    Plain,
    /// Run as well.
    Executable,
}

const READ_ALL: Mode = Mode::RUSR.union(Mode::RGRP).union(Mode::ROTH);
const WRITE_ALL: Mode = Mode::WUSR.union(Mode::WGRP).union(Mode::WOTH);
const RUN_ALL: Mode = Mode::XUSR.union(Mode::XGRP).union(Mode::XOTH);

impl Permission {
    /// As the drive's entry says.
    pub fn of(executable: bool) -> Self {
        if executable { Self::Executable } else { Self::Plain }
    }

    /// What a new file asks for; the process's mask takes away from it.
    fn mode(self) -> Mode {
        match self {
            Self::Plain => READ_ALL | WRITE_ALL,
            Self::Executable => READ_ALL | WRITE_ALL | RUN_ALL,
        }
    }
}

fn open_folder(dir: impl AsFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn put_in_place(dir: &OwnedFd, part: &str, name: &str, path: &DrivePath) -> Result<(), FolderError> {
    rustix::fs::renameat(dir, part, dir, name).map_err(|e| match e {
        rustix::io::Errno::ISDIR | rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY => {
            FolderError::Occupied { path: path.to_string() }
        }
        e => io_error("write", path)(e.into()),
    })
}

/// The same for the same name, so that what an interrupted mirror left is found again and replaced.
fn part_name(name: &str) -> String {
    format!("{PART_PREFIX}{:016x}", twox_hash::XxHash3_64::oneshot(name.as_bytes()))
}

fn io_error(doing: &'static str, path: &DrivePath) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_string();
    move |source| FolderError::Io { doing, path, source }
}
