//! The `newc` archive that a Linux kernel unpacks as its first file system
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

const HEADER: usize = 110;
const TRAILER: &str = "TRAILER!!!";

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file and its content.
    File(Vec<u8>),
    /// A character device: major and minor number.
    Device(u32, u32),
}

/// One entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path without a leading slash.
    pub path: String,
    /// Permission bits, as in `0o755`.
    pub mode: u32,
    /// What it is.
    pub kind: Kind,
}

impl Entry {
    /// A folder that everybody may enter.
    pub fn folder(path: &str) -> Self {
        Entry { path: path.to_owned(), mode: 0o755, kind: Kind::Folder }
    }

    /// A file with permission bits `mode`.
    pub fn file(path: &str, mode: u32, content: Vec<u8>) -> Self {
        Entry { path: path.to_owned(), mode, kind: Kind::File(content) }
    }

    /// A character device that only root may open.
    pub fn device(path: &str, major: u32, minor: u32) -> Self {
        Entry { path: path.to_owned(), mode: 0o600, kind: Kind::Device(major, minor) }
    }
}

/// The archive of `entries`, in their order. Owner is root and every time is zero, so that equal
/// entries give equal bytes.
pub fn write(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let (type_bits, content, device): (u32, &[u8], (u32, u32)) = match &entry.kind {
            Kind::Folder => (0o040_000, &[], (0, 0)),
            Kind::File(content) => (0o100_000, content, (0, 0)),
            Kind::Device(major, minor) => (0o020_000, &[], (*major, *minor)),
        };
        append(&mut archive, index as u32 + 1, type_bits | entry.mode, device, &entry.path, content);
    }
    append(&mut archive, 0, 0, (0, 0), TRAILER, &[]);
    archive
}

fn append(archive: &mut Vec<u8>, inode: u32, mode: u32, device: (u32, u32), path: &str, content: &[u8]) {
    let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
    let fields = [
        inode,
        mode,
        0, // user
        0, // group
        links,
        0, // time of change
        content.len() as u32,
        0, // device the entry lies on
        0,
        device.0,
        device.1,
        path.len() as u32 + 1,
        0, // checksum, unused in this variant
    ];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    archive.extend_from_slice(path.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(content);
    pad(archive);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

/// An archive that is cut short, damaged, or holds what [`write`] never writes.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("this is not an archive that this crate wrote: stopped at byte {at}")]
pub struct ReadError {
    /// Where reading stopped.
    pub at: usize,
}

/// Reads back what [`write`] wrote, in order.
pub fn read(archive: &[u8]) -> Result<Vec<Entry>, ReadError> {
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        let (entry, next) = read_one(archive, at).ok_or(ReadError { at })?;
        at = next;
        match entry {
            Some(entry) => entries.push(entry),
            None => return Ok(entries),
        }
    }
}

/// The entry at `at` (`None` for the trailer) and where the next one starts.
fn read_one(archive: &[u8], at: usize) -> Option<(Option<Entry>, usize)> {
    let header = archive.get(at..at.checked_add(HEADER)?)?;
    let text = std::str::from_utf8(header.strip_prefix(b"070701")?).ok()?;
    let field = |index: usize| u32::from_str_radix(text.get(index * 8..index * 8 + 8)?, 16).ok();
    let path_end = at.checked_add(HEADER)?.checked_add(field(11)? as usize)?;
    let path = archive.get(at + HEADER..path_end)?.strip_suffix(b"\0")?;
    let path = std::str::from_utf8(path).ok()?.to_owned();
    let content_start = path_end.checked_next_multiple_of(4)?;
    let content_end = content_start.checked_add(field(6)? as usize)?;
    let content = archive.get(content_start..content_end)?;
    let next = content_end.checked_next_multiple_of(4)?;
    if path == TRAILER {
        return Some((None, next));
    }
    let kind = match field(1)? & 0o170_000 {
        0o040_000 => Kind::Folder,
        0o100_000 => Kind::File(content.to_vec()),
        0o020_000 => Kind::Device(field(9)?, field(10)?),
        _ => return None,
    };
    Some((Some(Entry { path, mode: field(1)? & 0o7777, kind }), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Entry> {
        vec![
            Entry::folder("dev"),
            Entry::device("dev/console", 5, 1),
            Entry::file("init", 0o755, b"#!/bin/true\n".to_vec()),
            Entry::file("empty", 0o644, Vec::new()),
        ]
    }

    #[test]
    fn reads_what_it_wrote() {
        assert_eq!(read(&write(&sample())), Ok(sample()));
    }

    #[test]
    fn every_cut_is_an_error() {
        let archive = write(&sample());
        for cut in 0..archive.len() {
            // The trailer's own padding may be cut; nothing else may.
            if cut < archive.len() - 3 {
                assert!(read(&archive[..cut]).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn no_byte_makes_it_panic() {
        let archive = write(&sample());
        for at in 0..archive.len() {
            for byte in [0, b'0', b'F', 0xff] {
                let mut changed = archive.clone();
                changed[at] = byte;
                let _ = read(&changed);
            }
        }
    }
}
