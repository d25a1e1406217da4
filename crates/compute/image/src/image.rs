use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Version of `image.json`.
const FORMAT: u32 = 1;
pub(crate) const KERNEL: &str = "vmlinux";
pub(crate) const INITRD: &str = "initrd";
const RECORD: &str = "image.json";

/// A kernel and its initial file system, checked against their digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The kernel's file.
    pub kernel: PathBuf,
    /// The initial file system's file.
    pub initrd: PathBuf,
    /// SHA-256 over both files' digests, in hex: what snapshots are bound to.
    pub digest: String,
    /// The kernel's release, as `uname -r` prints it.
    pub kernel_version: String,
    /// Modules in load order.
    pub modules: Vec<String>,
}

/// An image that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file is missing or unreadable.
    #[error("could not read {path} of the guest image: build it with `cloudpal-host image build`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `image.json` is of another version or damaged.
    #[error(
        "{path} is not a record that this version wrote: build the image again with `cloudpal-host image build`"
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// A file was changed after it was built.
    #[error("{path} was changed since the image was built: build it again with `cloudpal-host image build`")]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

/// `image.json`.
#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    kernel_version: String,
    kernel_sha256: String,
    initrd_sha256: String,
    digest: String,
    modules: Vec<String>,
}

impl Image {
    /// Reads `folder` and checks every digest: some 65 MiB of hashing, so do it once and keep it.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(RECORD);
        let text = fs::read(&path).map_err(|source| OpenError::Read { path: path.clone(), source })?;
        let record: Record = serde_json::from_slice(&text)
            .map_err(|source| OpenError::Record { path: path.clone(), source: Some(source) })?;
        if record.format != FORMAT {
            return Err(OpenError::Record { path, source: None });
        }
        for (name, expected) in [(KERNEL, &record.kernel_sha256), (INITRD, &record.initrd_sha256)] {
            let path = folder.join(name);
            let found = sha256_of(&path).map_err(|source| OpenError::Read { path: path.clone(), source })?;
            if found != *expected {
                return Err(OpenError::Changed { path });
            }
        }
        if digest(&record.kernel_sha256, &record.initrd_sha256) != record.digest {
            return Err(OpenError::Changed { path });
        }
        Ok(Image {
            kernel: folder.join(KERNEL),
            initrd: folder.join(INITRD),
            digest: record.digest,
            kernel_version: record.kernel_version,
            modules: record.modules,
        })
    }
}

/// The three files of an image, as names and contents.
pub(crate) fn files(
    kernel_version: String,
    kernel: Vec<u8>,
    initrd: Vec<u8>,
    modules: Vec<String>,
) -> Result<[(&'static str, Vec<u8>); 3], serde_json::Error> {
    let (kernel_sha256, initrd_sha256) = (sha256(&kernel), sha256(&initrd));
    let digest = digest(&kernel_sha256, &initrd_sha256);
    let record = Record { format: FORMAT, kernel_version, kernel_sha256, initrd_sha256, digest, modules };
    let text = serde_json::to_vec_pretty(&record)?;
    Ok([(KERNEL, kernel), (INITRD, initrd), (RECORD, text)])
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Piece by piece: the agent that asks stays small.
fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 256 << 10];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex::encode(hash.finalize())),
            size => hash.update(&piece[..size]),
        }
    }
}

fn digest(kernel_sha256: &str, initrd_sha256: &str) -> String {
    sha256(format!("cloudpal image {FORMAT}\n{kernel_sha256}\n{initrd_sha256}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let write = || {
            let parts =
                files("6.1".into(), b"kernel".to_vec(), b"initrd".to_vec(), vec!["virtio".into()]).unwrap();
            for (name, content) in parts {
                fs::write(folder.path().join(name), content).unwrap();
            }
        };
        write();
        let image = Image::open(folder.path()).unwrap();
        assert_eq!(
            (image.kernel_version.as_str(), image.modules.as_slice()),
            ("6.1", &["virtio".to_owned()][..])
        );
        for name in [KERNEL, INITRD] {
            fs::write(folder.path().join(name), "other").unwrap();
            assert!(matches!(Image::open(folder.path()), Err(OpenError::Changed { .. })), "{name}");
            fs::remove_file(folder.path().join(name)).unwrap();
            assert!(matches!(Image::open(folder.path()), Err(OpenError::Read { .. })), "{name}");
            write();
        }
        let record = fs::read_to_string(folder.path().join(RECORD)).unwrap();
        fs::write(folder.path().join(RECORD), record.replace(&image.digest, &"0".repeat(64))).unwrap();
        assert!(matches!(Image::open(folder.path()), Err(OpenError::Changed { .. })));
        fs::write(folder.path().join(RECORD), record.replace("\"format\": 1", "\"format\": 2")).unwrap();
        assert!(matches!(Image::open(folder.path()), Err(OpenError::Record { .. })));
    }
}
