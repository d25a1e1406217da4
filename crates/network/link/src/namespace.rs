//! Named network namespaces, the same as `ip netns` makes and lists.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const FOLDER: &str = "/run/netns";

/// Something about a namespace did not work.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// A name that cannot be a file's.
    #[error("\"{0}\" cannot be a namespace's name: use letters, digits, hyphens, at most 15")]
    Name(String),
    /// It could not be made.
    #[error("could not make network namespace {name}; the host's agent must run as root")]
    Create {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be opened.
    #[error("could not open network namespace {name}; see `ip netns list`")]
    Open {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be entered.
    #[error("could not enter network namespace {name}; the host's agent must run as root")]
    Enter {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be removed.
    #[error("could not remove network namespace {name}; try `ip netns delete {name}`")]
    Remove {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// An open network namespace. Closing it leaves it in place.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes a namespace, or opens it if it is there already.
    pub fn create(name: &str) -> Result<Self, NamespaceError> {
        check(name)?;
        let fail = |source| NamespaceError::Create { name: name.to_owned(), source };
        share_folder().map_err(fail)?;
        let path = Self::path_of(name);
        match OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path) {
            Ok(_) => bind_new(&path).inspect_err(|_| drop(fs::remove_file(&path))).map_err(fail)?,
            // A file that is no namespace is what an agent leaves that was killed between the two steps.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !is_namespace(&path) => {
                bind_new(&path).map_err(fail)?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(fail(error)),
        }
        Self::open(name)
    }

    /// Opens a namespace that is there.
    pub fn open(name: &str) -> Result<Self, NamespaceError> {
        check(name)?;
        let file = File::open(Self::path_of(name));
        let file = file.map_err(|source| NamespaceError::Open { name: name.to_owned(), source })?;
        Ok(Namespace { name: name.to_owned(), file })
    }

    /// The namespace of this process.
    pub fn own() -> Result<Self, NamespaceError> {
        let name = "of this process".to_owned();
        match File::open("/proc/self/ns/net") {
            Ok(file) => Ok(Namespace { name, file }),
            Err(source) => Err(NamespaceError::Open { name, source }),
        }
    }

    /// Removes a namespace's name; it ends with the last process and descriptor in it. One that is
    /// not there is fine.
    pub fn remove(name: &str) -> Result<(), NamespaceError> {
        check(name)?;
        let path = Self::path_of(name);
        // One of several mounts may lie on it, if two agents raced; all go.
        while umount2(&path, MntFlags::MNT_DETACH).is_ok() {}
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(NamespaceError::Remove { name: name.to_owned(), source: error })
            }
            _ => Ok(()),
        }
    }

    /// Where a namespace of this name is found, for `setns` or `nsenter --net=`.
    pub fn path_of(name: &str) -> PathBuf {
        Path::new(FOLDER).join(name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs something inside, on a thread of its own. Sockets and descriptors opened there stay in
    /// the namespace, wherever they are used later.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        let fail = |source| NamespaceError::Enter { name: self.name.clone(), source };
        let entered = std::thread::scope(|scope| {
            let thread =
                std::thread::Builder::new().name(format!("in {}", self.name)).spawn_scoped(scope, || {
                    setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
                    Ok(work())
                });
            thread.map(|thread| thread.join())
        });
        match entered {
            Ok(Ok(done)) => done.map_err(fail),
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(source) => Err(fail(source)),
        }
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn check(name: &str) -> Result<(), NamespaceError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=15).contains(&name.len()) && name.bytes().all(fits) {
        Ok(())
    } else {
        Err(NamespaceError::Name(name.chars().take(40).collect()))
    }
}

/// As `ip netns` does it: mounts in the folder are to be seen by everybody, and it is mounted on
/// itself if it is not yet a mount that can be shared.
fn share_folder() -> io::Result<()> {
    fs::create_dir_all(FOLDER)?;
    let share =
        || mount(None::<&str>, FOLDER, None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    if share().is_err() {
        mount(Some(FOLDER), FOLDER, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
        share()?;
    }
    Ok(())
}

/// A thread makes a new namespace for itself and pins it to the file.
fn bind_new(path: &Path) -> io::Result<()> {
    let bind = || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        mount(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(())
    };
    std::thread::scope(|scope| match scope.spawn(bind).join() {
        Ok(bound) => bound,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Whether a namespace is mounted there: it then lies on another file system than the folder.
fn is_namespace(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::metadata(path).map(|data| data.dev()).ok();
    device(path) != device(Path::new(FOLDER))
}
