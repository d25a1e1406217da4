use crate::cpio::{self, Entry};
use crate::image::{self, Image, OpenError};
use crate::kernel::{KernelError, KernelTree, Module};
use crate::library::{self, Files, LibraryError};
use crate::modinfo;
use crate::vmlinux;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Folders that the guest mounts on or writes into.
const FOLDERS: &[&str] = &["data", "dev", "etc", "proc", "run", "sys", "tmp"];

/// What goes into an image.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// Folder made by `dpkg -x` of a kernel package.
    pub kernel_tree: PathBuf,
    /// `cloudpal-init`, linked statically.
    pub init: PathBuf,
    /// `cloudpald`, linked statically.
    pub pald: PathBuf,
    /// The host's `mke2fs`.
    pub mke2fs: PathBuf,
    /// The host's `nft`.
    pub nft: PathBuf,
    /// Folder to write; replaced as a whole if it exists.
    pub out: PathBuf,
}

impl BuildRequest {
    /// With `mke2fs` and `nft` from where Debian installs them.
    pub fn new(
        kernel_tree: impl Into<PathBuf>,
        init: impl Into<PathBuf>,
        pald: impl Into<PathBuf>,
        out: impl Into<PathBuf>,
    ) -> Self {
        BuildRequest {
            kernel_tree: kernel_tree.into(),
            init: init.into(),
            pald: pald.into(),
            mke2fs: "/usr/sbin/mke2fs".into(),
            nft: "/usr/sbin/nft".into(),
            out: out.into(),
        }
    }
}

/// An image that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The kernel package.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A host tool.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A file could not be read.
    #[error("could not read {path} for the guest image")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A guest program that would not start in the guest.
    #[error(
        "{path} is not a static program: build it with RUSTFLAGS='-C target-feature=+crt-static' and \
         --target x86_64-unknown-linux-gnu"
    )]
    NotStatic {
        /// The program.
        path: PathBuf,
    },
    /// The image could not be written.
    #[error(
        "could not write the guest image {path}: check that the disk has room and the folder may be written"
    )]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was written does not read back.
    #[error("the guest image does not read back as it was written")]
    ReadBack(#[from] OpenError),
}

/// Builds an image and puts it in place in one step: `request.out` holds the old one or the new one.
pub fn build(request: &BuildRequest) -> Result<Image, BuildError> {
    let tree = KernelTree::open(&request.kernel_tree)?;
    let modules = tree.load_order()?;
    let packed = read(&tree.kernel)?;
    let kernel = vmlinux::extract(&packed).unwrap_or(packed);
    let initrd = cpio::write(&entries(&collect(request, &modules)?));
    let names = modules.into_iter().map(|module| module.name).collect();
    let files = image::files(tree.version, kernel, initrd, names)
        .map_err(|source| BuildError::Write { path: request.out.clone(), source: source.into() })?;
    replace_folder(&request.out, &files)?;
    Ok(Image::open(&request.out)?)
}

fn collect(request: &BuildRequest, modules: &[Module]) -> Result<Files, BuildError> {
    let mut files = Files::new();
    for (path, guest) in [(&request.init, "init"), (&request.pald, "cloudpald")] {
        let bytes = read(path)?;
        let is_static = modinfo::needs(&bytes).is_some_and(|needs| needs.loader.is_none());
        let kept = modinfo::without_sections(&bytes).filter(|_| is_static);
        let kept = kept.ok_or_else(|| BuildError::NotStatic { path: path.clone() })?;
        files.insert(guest.to_owned(), kept);
    }
    library::add_program(&mut files, &request.mke2fs, "sbin/mke2fs", "e2fsprogs")?;
    library::add_program(&mut files, &request.nft, "sbin/nft", "nftables")?;
    let mut order = String::new();
    for module in modules {
        let bytes = read(&module.path)?;
        files.insert(format!("modules/{}.ko", module.name), modinfo::without_signature(&bytes).to_vec());
        order += &format!("{}.ko\n", module.name);
    }
    files.insert("modules/order".to_owned(), order.into_bytes());
    Ok(files)
}

/// Folders first, so that each exists before what lies in it.
fn entries(files: &Files) -> Vec<Entry> {
    let mut folders: BTreeSet<&str> = FOLDERS.iter().copied().collect();
    folders.extend(files.keys().filter_map(|path| Some(path.rsplit_once('/')?.0)));
    let mut entries: Vec<Entry> = folders.into_iter().map(Entry::folder).collect();
    entries.push(Entry::device("dev/console", 5, 1));
    for (path, content) in files {
        let mode = if path.starts_with("modules/") { 0o644 } else { 0o755 };
        entries.push(Entry::file(path, mode, content.clone()));
    }
    entries
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    fs::read(path).map_err(|source| BuildError::Read { path: path.to_owned(), source })
}

fn replace_folder(out: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), BuildError> {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let fresh = out.with_file_name(name);
    let written = write_folder(&fresh, files).and_then(|()| put_in_place(&fresh, out));
    // After an exchange this is the old image; after a failure, what was begun.
    let _ = fs::remove_dir_all(&fresh);
    written
}

fn write_folder(folder: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), BuildError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| BuildError::Write { path, source }
    };
    fs::create_dir_all(folder).map_err(at(folder))?;
    for (name, content) in files {
        let path = folder.join(name);
        let mut file = fs::File::create(&path).map_err(at(&path))?;
        // The hypervisor opens kernel and initial file system as a user without rights.
        let readable = fs::Permissions::from_mode(0o644);
        let written = file.write_all(content).and_then(|()| file.set_permissions(readable));
        written.and_then(|()| file.sync_all()).map_err(at(&path))?;
    }
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

fn put_in_place(fresh: &Path, out: &Path) -> Result<(), BuildError> {
    let flags = if out.exists() { RenameFlags::RENAME_EXCHANGE } else { RenameFlags::RENAME_NOREPLACE };
    renameat2(AT_FDCWD, fresh, AT_FDCWD, out, flags)
        .map_err(|error| BuildError::Write { path: out.to_owned(), source: error.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_comes_before_what_lies_in_it() {
        let files = Files::from([("a/b".to_owned(), vec![1]), ("init".to_owned(), vec![2])]);
        let entries = entries(&files);
        let place = |path: &str| entries.iter().position(|entry| entry.path == path).unwrap();
        assert!(place("a") < place("a/b") && place("dev") < place("dev/console"));
        assert!(place("init") > 0);
    }

    #[test]
    fn a_new_image_takes_the_place_of_the_old_one_whole() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("image");
        for kernel in [b"one", b"two"] {
            let files = image::files("6.1".into(), kernel.to_vec(), b"initrd".to_vec(), Vec::new()).unwrap();
            replace_folder(&out, &files).unwrap();
            let image = Image::open(&out).unwrap();
            assert_eq!(fs::read(&image.kernel).unwrap(), kernel);
            assert_eq!(fs::metadata(&image.kernel).unwrap().permissions().mode() & 0o777, 0o644);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something is left beside it");
        }
    }

    #[test]
    fn a_program_that_is_not_static_is_refused() {
        let request = BuildRequest::new("tree", "/bin/sh", "/bin/sh", "out");
        let error = collect(&request, &[]).unwrap_err();
        assert!(matches!(error, BuildError::NotStatic { .. }), "{error}");
    }
}
