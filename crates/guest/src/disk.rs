//! The encrypted data disk: virtio disk with serial `data`. Its first MiB is ours:
//!
//! ```text
//! offset 0     "CPdata1\0"
//!        8     state: 1 being formatted, 2 holds data
//!        16    salt, 16 bytes
//!        32    SHA-256(domain || salt || key): tells a wrong key from a damaged disk
//!        1 MiB dm-crypt aes-xts-plain64, ext4 inside
//! ```
//!
//! A disk is only formatted when its whole first MiB is zero, or when an earlier formatting never came to
//! its end; whatever else it holds, it is left alone.

use crate::mapper::{self, Target};
use cloudpal_core::Secret;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;
use zeroize::Zeroizing;

/// Where the open disk is mounted.
pub const PLACE: &str = "/data";
const NAME: &str = "data";
const MKFS: &str = "/sbin/mke2fs";
const START: u64 = 1 << 20;
const SECTOR: u64 = 512;
const MAGIC: &[u8; 8] = b"CPdata1\0";

/// The data disk was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another key than the one it was made with.
    #[error(
        "this key does not open the data disk; unlock with the seed phrase the pal was created with (nothing was changed)"
    )]
    WrongKey,
    /// It holds something that is not ours.
    #[error("the data disk holds something that CloudPal did not write; it was left alone")]
    Foreign,
    /// The host gave none.
    #[error("this pal has no data disk; ask its data centre")]
    NoDisk,
    /// The key did not arrive whole.
    #[error("could not read the key")]
    Key(#[source] io::Error),
    /// Reading, writing or mapping failed.
    #[error("could not {what} the data disk")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program that makes file systems failed.
    #[error("could not make a file system on the data disk: {0}")]
    Mkfs(String),
}

fn io(what: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { what, source }
}

/// `/init open-data`: key on standard input; says on standard error why not. Exit code 4 for a key that
/// is refused.
pub fn open_command() -> ExitCode {
    match read_key().and_then(|key| open(&key)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            eprint!("{error}{cause}");
            ExitCode::from(if matches!(error, OpenError::WrongKey | OpenError::Foreign) { 4 } else { 1 })
        }
    }
}

/// `/init close-data`.
pub fn close_command() -> ExitCode {
    match close_patiently() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!(
                "the data disk is in use and could not be closed ({error}); try again, or let the pal sleep"
            );
            ExitCode::FAILURE
        }
    }
}

fn read_key() -> Result<Secret<64>, OpenError> {
    let mut bytes = Zeroizing::new([0; 64]);
    // Not through std's buffered standard input, which would keep a copy.
    let mut input = File::open("/proc/self/fd/0").map_err(OpenError::Key)?;
    input.read_exact(&mut *bytes).map_err(OpenError::Key)?;
    Ok(Secret::new(*bytes))
}

/// Unlocks, formats at the first time, and mounts.
fn open(key: &Secret<64>) -> Result<(), OpenError> {
    let device = find().ok_or(OpenError::NoDisk)?;
    let disk = File::options().read(true).write(true).open(&device).map_err(io("open"))?;
    let state = Header::read(&disk).map_err(io("read"))?;
    match state {
        State::Blank | State::Unfinished => format(&device, &disk, key)?,
        State::Ready(header) if header.fits(key) => drop(map(&device, key)?),
        State::Ready(_) => return Err(OpenError::WrongKey),
        State::Foreign => return Err(OpenError::Foreign),
    }
    let mounted = fs::create_dir_all(PLACE).and_then(|()| mount_data());
    mounted.map_err(|source| {
        let _ = mapper::remove(NAME);
        OpenError::Io { what: "mount", source }
    })
}

fn mount_data() -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
    let inner = inner_device()?;
    Ok(mount(Some(&inner), PLACE, Some("ext4"), flags, Some("data=ordered,errors=remount-ro"))?)
}

/// Unmounts and forgets the key. Nothing to do is fine.
fn close() -> io::Result<()> {
    match umount2(PLACE, MntFlags::empty()) {
        // Not mounted, or never made.
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    mapper::remove(NAME)
}

/// The same, waiting a moment for who still looks at the mount.
pub fn close_patiently() -> io::Result<()> {
    for _ in 0..20 {
        if close().is_ok() {
            return Ok(());
        }
        sleep(Duration::from_millis(10));
    }
    close()
}

/// Whether the disk was never written to; then the programs that format it are still needed.
pub fn is_blank() -> bool {
    let Some(disk) = find().and_then(|device| File::open(device).ok()) else { return false };
    matches!(Header::read(&disk), Ok(State::Blank | State::Unfinished))
}

/// The virtio disk with serial `data`.
fn find() -> Option<PathBuf> {
    fs::read_dir("/sys/block").ok()?.flatten().find_map(|entry| {
        let serial = fs::read_to_string(entry.path().join("serial")).ok()?;
        (serial.trim() == NAME).then(|| Path::new("/dev").join(entry.file_name()))
    })
}

struct Header {
    salt: [u8; 16],
    check: [u8; 32],
}

enum State {
    Blank,
    Unfinished,
    Ready(Header),
    Foreign,
}

impl Header {
    fn read(disk: &impl FileExt) -> io::Result<State> {
        let mut start = vec![0; START as usize];
        disk.read_exact_at(&mut start, 0)?;
        Ok(Self::parse(&start))
    }

    fn parse(start: &[u8]) -> State {
        if start.iter().all(|byte| *byte == 0) {
            return State::Blank;
        }
        match (start.get(..8), start.get(8), start.get(16..32), start.get(32..64)) {
            (Some(magic), Some(1), ..) if magic == MAGIC => State::Unfinished,
            (Some(magic), Some(2), Some(salt), Some(check)) if magic == MAGIC => {
                let (mut header, from) = (Header { salt: [0; 16], check: [0; 32] }, (salt, check));
                header.salt.copy_from_slice(from.0);
                header.check.copy_from_slice(from.1);
                State::Ready(header)
            }
            _ => State::Foreign,
        }
    }

    fn new(salt: [u8; 16], key: &Secret<64>) -> Self {
        Header { salt, check: check(&salt, key) }
    }

    fn fits(&self, key: &Secret<64>) -> bool {
        Secret::new(self.check) == Secret::new(check(&self.salt, key))
    }

    fn write(&self, disk: &File, state: u8) -> io::Result<()> {
        let mut sector = [0; SECTOR as usize];
        sector[..8].copy_from_slice(MAGIC);
        sector[8] = state;
        sector[16..32].copy_from_slice(&self.salt);
        sector[32..64].copy_from_slice(&self.check);
        disk.write_all_at(&sector, 0)?;
        disk.sync_all()
    }
}

fn check(salt: &[u8; 16], key: &Secret<64>) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"cloudpal data disk 1\0")
        .chain_update(salt)
        .chain_update(key.expose())
        .finalize()
        .into()
}

/// Writes a header that says "unfinished", makes the file system, then says "ready".
fn format(device: &Path, disk: &File, key: &Secret<64>) -> Result<(), OpenError> {
    let mut salt = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut salt))
        .map_err(io("draw a salt for"))?;
    let header = Header::new(salt, key);
    header.write(disk, 1).map_err(io("write"))?;
    map(device, key)?;
    let made = make_file_system().and_then(|()| header.write(disk, 2).map_err(io("write")));
    made.inspect_err(|_| drop(mapper::remove(NAME)))
}

fn make_file_system() -> Result<(), OpenError> {
    let inner = inner_device().map_err(io("find"))?;
    let output = Command::new(MKFS)
        // Reserved blocks are for root and a small journal is enough for one person's small files.
        .args(["-q", "-F", "-t", "ext4", "-m", "0", "-J", "size=8", "-E", "nodiscard,lazy_itable_init=1"])
        .arg(&inner)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(|error| OpenError::Mkfs(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(OpenError::Mkfs(said.lines().next().unwrap_or("it said nothing").to_owned()));
    }
    File::open(&inner).and_then(|inner| inner.sync_all()).map_err(io("write"))
}

/// Maps the encrypted part as device-mapper device `data`.
fn map(device: &Path, key: &Secret<64>) -> Result<(), OpenError> {
    let name = device.file_name().unwrap_or_default();
    let size =
        fs::read_to_string(Path::new("/sys/class/block").join(name).join("size")).map_err(io("measure"))?;
    let sectors: u64 = size.trim().parse().map_err(|error| io("measure")(io::Error::other(error)))?;
    let start = START / SECTOR;
    let parameters = parameters(key, device, start);
    let target = Target { sectors: sectors.saturating_sub(start), kind: "crypt", parameters: &parameters };
    // Left over from a process that died in between.
    mapper::remove(NAME).map_err(io("close"))?;
    let minor = mapper::create(NAME, &target).map_err(io("decrypt"))?;
    fs::create_dir_all("/run/data").and_then(|()| fs::write(MINOR, minor.to_string())).map_err(io("decrypt"))
}

/// Where the mapped device's number is noted.
const MINOR: &str = "/run/data/minor";

fn inner_device() -> io::Result<PathBuf> {
    Ok(PathBuf::from(format!("/dev/dm-{}", fs::read_to_string(MINOR)?)))
}

/// The crypt target's parameters, the key in hex among them.
fn parameters(key: &Secret<64>, device: &Path, start: u64) -> Zeroizing<String> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // Reserved at once: growing would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str("aes-xts-plain64 ");
    for byte in key.expose() {
        text.push(DIGITS[usize::from(byte >> 4)].into());
        text.push(DIGITS[usize::from(byte & 15)].into());
    }
    text.push_str(&format!(" 0 {} {start}", device.display()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start_with(header: &Header, state: u8) -> Vec<u8> {
        let file = tempfile::tempfile().unwrap();
        file.set_len(START).unwrap();
        header.write(&file, state).unwrap();
        let mut start = vec![0; START as usize];
        file.read_exact_at(&mut start, 0).unwrap();
        start
    }

    #[test]
    fn only_a_disk_of_zeros_or_an_unfinished_one_is_formatted() {
        let header = Header::new([1; 16], &Secret::new([2; 64]));
        assert!(matches!(Header::parse(&vec![0; START as usize]), State::Blank));
        assert!(matches!(Header::parse(&start_with(&header, 1)), State::Unfinished));
        let mut last = vec![0; START as usize];
        last[START as usize - 1] = 1;
        assert!(matches!(Header::parse(&last), State::Foreign));
        let mut damaged = start_with(&header, 2);
        damaged[3] ^= 1;
        assert!(matches!(Header::parse(&damaged), State::Foreign));
        for other in 3..=255 {
            assert!(matches!(Header::parse(&start_with(&header, other)), State::Foreign));
        }
    }

    #[test]
    fn tells_the_right_key_from_every_other() {
        let header = Header::new([1; 16], &Secret::new([2; 64]));
        let State::Ready(read) = Header::parse(&start_with(&header, 2)) else { panic!("ready") };
        assert!(read.fits(&Secret::new([2; 64])));
        for at in 0..64 {
            let mut key = [2; 64];
            key[at] ^= 0x80;
            assert!(!read.fits(&Secret::new(key)), "bit in byte {at}");
        }
    }

    #[test]
    fn writes_the_key_as_dm_crypt_reads_it() {
        let text = parameters(&Secret::new([0xa7; 64]), Path::new("/dev/vdb"), 2048);
        assert_eq!(*text, format!("aes-xts-plain64 {} 0 /dev/vdb 2048", "a7".repeat(64)));
        assert!(text.capacity() <= 512, "never grown");
    }
}
