use super::{StoreKey, random_bytes};
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce, aead::AeadInPlace};
use cloudpal_core::Secret;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Name of the sealed key's file in the store's folder.
const FILE: &str = "key.sealed";
const MAGIC: &[u8; 16] = b"cloudpal seal 1\n";
const LEN: usize = 16 + 24 + 32 + 16;

/// Keeps `key` in the store's folder `dir`, encrypted under `device`: a secret that this device alone has, such as
/// one from its TPM or keychain. Replaces what was sealed there before, all or nothing.
///
/// ```
/// use cloudpal_core::Secret;
/// use cloudpal_store::{StoreKey, seal, unseal};
/// let dir = tempfile::tempdir()?;
/// let device = Secret::new([3; 32]);
/// let key = StoreKey::random()?;
/// seal(dir.path(), &key, &device)?;
/// assert_eq!(unseal(dir.path(), &device)?, Some(key));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal(dir: &Path, key: &StoreKey, device: &Secret<32>) -> io::Result<()> {
    let nonce = random_bytes::<24>().map_err(io::Error::other)?;
    let mut body = Zeroizing::new(*key.expose());
    let tag = XChaCha20Poly1305::new(device.expose().into())
        .encrypt_in_place_detached(XNonce::from_slice(&nonce), MAGIC, body.as_mut_slice())
        .map_err(|_| io::Error::other("the cipher refused 32 bytes"))?;
    fs::create_dir_all(dir)?;
    let fresh = dir.join("key.sealed.new");
    let mut file = File::create(&fresh)?;
    for part in [&MAGIC[..], &nonce, body.as_slice(), &tag] {
        file.write_all(part)?;
    }
    file.sync_all()?;
    fs::rename(&fresh, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}

/// The key that [`seal`] left in `dir`; none when there is none.
pub fn unseal(dir: &Path, device: &Secret<32>) -> Result<Option<StoreKey>, UnsealError> {
    let path = dir.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(UnsealError::Read { path, source }),
    };
    if bytes.len() != LEN || !bytes.starts_with(MAGIC) {
        return Err(UnsealError::Refused { path });
    }
    let mut body = Zeroizing::new([0; 32]);
    body.copy_from_slice(&bytes[40..72]);
    XChaCha20Poly1305::new(device.expose().into())
        .decrypt_in_place_detached(
            XNonce::from_slice(&bytes[16..40]),
            MAGIC,
            body.as_mut_slice(),
            Tag::from_slice(&bytes[72..]),
        )
        .map_err(|_| UnsealError::Refused { path })?;
    Ok(Some(StoreKey::new(*body)))
}

/// Why a sealed key did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnsealError {
    /// The file cannot be read.
    #[error("cannot read the sealed key {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another device sealed it, or it is damaged.
    #[error("the sealed key {} does not open on this device: bring the store's key from the device that made it", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_byte_and_another_device_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let device = Secret::new([3; 32]);
        assert_eq!(unseal(dir.path(), &device).unwrap(), None);
        seal(dir.path(), &StoreKey::new([9; 32]), &device).unwrap();
        assert!(unseal(dir.path(), &Secret::new([4; 32])).is_err());
        let good = fs::read(dir.path().join(FILE)).unwrap();
        assert!(!good.windows(8).any(|part| part == [9; 8]));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            fs::write(dir.path().join(FILE), &bad).unwrap();
            assert!(unseal(dir.path(), &device).is_err(), "byte {at}");
        }
    }
}
