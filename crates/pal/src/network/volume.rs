//! The network state volume: a small disk that holds one record in two slots, written in turn, so that
//! a crash at any write leaves the record before.
//!
//! ```text
//! slot A at 0, slot B in the middle of the disk; in each:
//!   0    "CPnet1\0\0"
//!   8    sequence number, u64 LE: the greater one counts
//!   16   length of the sealed body, u32 LE
//!   20   nonce, 24 random bytes
//!   4096 body sealed by XChaCha20-Poly1305; the 44 bytes above are authenticated with it
//! ```
//!
//! The body is written and flushed before the header that makes it count.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use cloudpal_core::Secret;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"CPnet1\0\0";
const HEADER: usize = 44;
const BODY_AT: u64 = 4096;
/// The longest sealed body, in bytes.
const MAX_BODY: usize = 4 << 20;

/// Where the slots lie. The trait is there so that a test can stop at every write.
pub trait Storage {
    /// Reads exactly these bytes.
    fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()>;
    /// Writes these bytes.
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Returns once everything written is on the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Size in bytes.
    fn size(&self) -> u64;
}

/// The network state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The host gave none.
    #[error("this pal has no network state volume; its host has to attach one with serial \"network\"")]
    Missing,
    /// Both slots are damaged, or sealed with another key.
    #[error(
        "the network state volume cannot be opened with the host's key; it was left as it is. Restore the key or the volume"
    )]
    Sealed,
    /// The record does not fit.
    #[error("the network state takes {0} bytes, more than its volume holds; take some tickets back")]
    TooLarge(usize),
    /// It was sealed with the right key, but this version cannot read it.
    #[error("the network state was written by another version; it was left as it is")]
    Version(#[source] postcard::Error),
    /// The disk fails.
    #[error("could not {what} the network state volume")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> VolumeError {
    move |source| VolumeError::Io { what, source }
}

/// An open volume.
pub struct Volume<S> {
    storage: S,
    cipher: XChaCha20Poly1305,
    sequence: u64,
    /// Where the next record goes.
    next: Slot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    A,
    B,
}

impl Slot {
    fn other(self) -> Self {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }
}

enum Content {
    Blank,
    Unreadable,
    Record { sequence: u64, body: Zeroizing<Vec<u8>> },
}

/// A record as it was stored.
pub type Record = Zeroizing<Vec<u8>>;

impl<S: Storage> Volume<S> {
    /// Opens the volume and gives the newest record; none on a volume of zeros.
    pub fn open(storage: S, key: &Secret<32>) -> Result<(Self, Option<Record>), VolumeError> {
        let cipher = XChaCha20Poly1305::new(key.expose().into());
        let mut volume = Volume { storage, cipher, sequence: 0, next: Slot::A };
        let (a, b) = (volume.read(Slot::A)?, volume.read(Slot::B)?);
        let newest = match (a, b) {
            (Content::Blank, Content::Blank) => None,
            (Content::Record { sequence: a, .. }, Content::Record { sequence: b, body }) if b > a => {
                Some((Slot::B, b, body))
            }
            (Content::Record { sequence, body }, _) => Some((Slot::A, sequence, body)),
            (_, Content::Record { sequence, body }) => Some((Slot::B, sequence, body)),
            _ => return Err(VolumeError::Sealed),
        };
        let Some((slot, sequence, body)) = newest else { return Ok((volume, None)) };
        (volume.sequence, volume.next) = (sequence, slot.other());
        Ok((volume, Some(body)))
    }

    /// Stores a record; when this returns it is on the disk. `nonce` is 24 fresh random bytes.
    pub fn store(&mut self, record: &[u8], nonce: [u8; 24]) -> Result<(), VolumeError> {
        let length = record.len() + 16;
        if length > MAX_BODY.min(self.room()) {
            return Err(VolumeError::TooLarge(record.len()));
        }
        let sequence = self.sequence + 1;
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..16].copy_from_slice(&sequence.to_le_bytes());
        header[16..20].copy_from_slice(&(length as u32).to_le_bytes());
        header[20..].copy_from_slice(&nonce);
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: record, aad: &header })
            .map_err(|_| VolumeError::TooLarge(record.len()))?;
        let at = self.offset(self.next);
        for (place, bytes) in [(at + BODY_AT, sealed.as_slice()), (at, &header)] {
            self.storage.write(place, bytes).and_then(|()| self.storage.sync()).map_err(failed("write"))?;
        }
        (self.sequence, self.next) = (sequence, self.next.other());
        Ok(())
    }

    fn offset(&self, slot: Slot) -> u64 {
        match slot {
            Slot::A => 0,
            Slot::B => self.storage.size() / 2,
        }
    }

    /// Bytes for a body in each slot.
    fn room(&self) -> usize {
        usize::try_from((self.storage.size() / 2).saturating_sub(BODY_AT)).unwrap_or(usize::MAX)
    }

    fn read(&self, slot: Slot) -> Result<Content, VolumeError> {
        let at = self.offset(slot);
        let mut header = [0; HEADER];
        self.storage.read(at, &mut header).map_err(failed("read"))?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(Content::Blank);
        }
        let Some((sequence, length, nonce)) =
            parse(&header).filter(|found| found.1 <= MAX_BODY.min(self.room()))
        else {
            return Ok(Content::Unreadable);
        };
        let mut sealed = vec![0; length];
        self.storage.read(at + BODY_AT, &mut sealed).map_err(failed("read"))?;
        let opened = self.cipher.decrypt(&nonce, Payload { msg: &sealed, aad: &header });
        Ok(opened
            .map_or(Content::Unreadable, |body| Content::Record { sequence, body: Zeroizing::new(body) }))
    }
}

fn parse(header: &[u8; HEADER]) -> Option<(u64, usize, XNonce)> {
    let sequence = u64::from_le_bytes(header[8..16].try_into().ok()?);
    let length = u32::from_le_bytes(header[16..20].try_into().ok()?);
    let nonce: [u8; 24] = header[20..].try_into().ok()?;
    (header.starts_with(MAGIC)).then(|| (sequence, length as usize, nonce.into()))
}

/// A block device.
pub struct Disk {
    file: File,
    size: u64,
}

impl Disk {
    /// The virtio disk with this serial.
    pub fn find(serial: &str) -> Result<Self, VolumeError> {
        let found = fs::read_dir("/sys/block").map_err(failed("find"))?.flatten().find(|entry| {
            fs::read_to_string(entry.path().join("serial")).is_ok_and(|text| text.trim() == serial)
        });
        let entry = found.ok_or(VolumeError::Missing)?;
        let sectors = fs::read_to_string(entry.path().join("size")).map_err(failed("measure"))?;
        let sectors: u64 =
            sectors.trim().parse().map_err(|error| failed("measure")(io::Error::other(error)))?;
        let path = Path::new("/dev").join(entry.file_name());
        let file = File::options().read(true).write(true).open(path).map_err(failed("open"))?;
        Ok(Disk { file, size: sectors * 512 })
    }
}

impl Storage for Disk {
    fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, at)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// A disk whose power can be cut: a write after that takes only so many bytes.
    #[derive(Clone)]
    struct Memory {
        bytes: Rc<RefCell<Vec<u8>>>,
        until_cut: Rc<RefCell<usize>>,
    }

    fn disk() -> Memory {
        Memory {
            bytes: Rc::new(RefCell::new(vec![0; 64 * 1024])),
            until_cut: Rc::new(RefCell::new(usize::MAX)),
        }
    }

    impl Storage for Memory {
        fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
            bytes.copy_from_slice(&self.bytes.borrow()[at as usize..at as usize + bytes.len()]);
            Ok(())
        }
        fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
            let mut left = self.until_cut.borrow_mut();
            let size = bytes.len().min(*left);
            self.bytes.borrow_mut()[at as usize..at as usize + size].copy_from_slice(&bytes[..size]);
            *left -= size;
            if size < bytes.len() { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
        }
        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn size(&self) -> u64 {
            64 * 1024
        }
    }

    const KEY: Secret<32> = Secret::new([4; 32]);

    fn open(disk: &Memory) -> (Volume<Memory>, Option<Record>) {
        Volume::open(disk.clone(), &KEY).unwrap()
    }

    #[test]
    fn power_lost_at_any_byte_leaves_the_old_or_the_new_record() {
        let (mut old, mut new) = (0, 0);
        for cut in 0..200 {
            let disk = disk();
            let (mut volume, none) = open(&disk);
            assert!(none.is_none());
            for round in 0..3 {
                volume.store(format!("record {round}").as_bytes(), [round; 24]).unwrap();
            }
            *disk.until_cut.borrow_mut() = cut;
            let stored = volume.store(b"the newest of all", [9; 24]);
            *disk.until_cut.borrow_mut() = usize::MAX;
            let (mut volume, found) = open(&disk);
            let found = found.unwrap();
            match found.as_slice() {
                b"record 2" => old += 1,
                b"the newest of all" => new += 1,
                other => panic!("{other:?}"),
            }
            assert!(stored.is_err() || found.as_slice() == b"the newest of all", "cut {cut}");
            volume.store(b"after", [8; 24]).unwrap();
            assert_eq!(open(&disk).1.unwrap().as_slice(), b"after");
        }
        assert!(old > 20 && new > 20, "both sides of the cut were seen: {old} {new}");
    }

    #[test]
    fn power_lost_at_the_very_first_write_leaves_a_blank_volume() {
        // The sealed body has 21 bytes; the header after it is one sector, which a disk writes whole.
        for cut in 0..=21 {
            let disk = disk();
            *disk.until_cut.borrow_mut() = cut;
            assert!(open(&disk).0.store(b"first", [1; 24]).is_err());
            *disk.until_cut.borrow_mut() = usize::MAX;
            assert!(open(&disk).1.is_none(), "cut {cut}");
        }
    }

    #[test]
    fn another_key_or_a_changed_byte_is_refused_and_nothing_is_written() {
        let disk = disk();
        open(&disk).0.store(b"mine", [1; 24]).unwrap();
        assert!(matches!(Volume::open(disk.clone(), &Secret::new([5; 32])), Err(VolumeError::Sealed)));
        for at in (0..HEADER).chain(4096..4116) {
            disk.bytes.borrow_mut()[at] ^= 1;
            let before = disk.bytes.borrow().clone();
            assert!(matches!(Volume::open(disk.clone(), &KEY), Err(VolumeError::Sealed)), "byte {at}");
            assert_eq!(before, *disk.bytes.borrow());
            disk.bytes.borrow_mut()[at] ^= 1;
        }
        assert_eq!(open(&disk).1.unwrap().as_slice(), b"mine");
    }

    #[test]
    fn random_slots_are_never_a_panic() {
        let mut state = 0x2545_f491_4f6c_dd1du64;
        println!("seed {state:#x}");
        for _ in 0..2000 {
            let disk = disk();
            for at in [0, 32 * 1024] {
                for byte in 0..HEADER {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    disk.bytes.borrow_mut()[at + byte] = state as u8;
                }
                if state & 4 == 0 {
                    disk.bytes.borrow_mut()[at..at + 8].copy_from_slice(MAGIC);
                    disk.bytes.borrow_mut()[at + 18..at + 20].fill(0);
                }
            }
            assert!(matches!(Volume::open(disk, &KEY), Err(VolumeError::Sealed)));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_before_it_is_written() {
        let disk = disk();
        let (mut volume, _) = open(&disk);
        volume.store(b"small", [1; 24]).unwrap();
        assert!(matches!(volume.store(&vec![0; 40 * 1024], [2; 24]), Err(VolumeError::TooLarge(_))));
        assert_eq!(open(&disk).1.unwrap().as_slice(), b"small");
    }
}
