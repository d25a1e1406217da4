//! Looks at the tables of contents of the engine's files before the engine does: it sets memory aside for as many entries as one says to
//! have, and only then reads its checksum. A flipped bit there would take more memory than there is, and the process with it.
//!
//! Format (sfa 1.0), little-endian. A file ends with a trailer of 38 bytes: "SFA!", version, kind of checksum, checksum in 16 bytes,
//! place of the table of contents in 8, 8 more. There lie "TOC!", the number of entries in 4 bytes, and entries of 18 bytes and more.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const TRAILER: &[u8] = b"SFA!";
const TRAILER_BYTES: u64 = 38;
/// Where in the trailer the place of the table of contents stands.
const PLACE: usize = 22;
const CONTENTS: &[u8] = b"TOC!";
const CONTENTS_HEAD: u64 = 8;
const ENTRY: u64 = 18;

/// Refuses if a file under `folder` says to have more than fits into it. What else is wrong with them the engine tells itself.
pub(super) fn check(folder: &Path) -> io::Result<()> {
    let listed = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        listed => listed?,
    };
    for entry in listed {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() {
            check(&path)?;
        } else if kind.is_file() && !fits(&File::open(&path)?)? {
            let what = format!("{} is damaged: it says to have more in it than fits", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
    }
    Ok(())
}

/// Whether as many entries as the table of contents says to have can be in the file. A file without one is none of ours to judge.
fn fits(file: &File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let Some(at) = length.checked_sub(TRAILER_BYTES) else { return Ok(true) };
    let mut trailer = [0; TRAILER_BYTES as usize];
    file.read_exact_at(&mut trailer, at)?;
    let Some(place) = trailer[PLACE..].first_chunk() else { return Ok(true) };
    let place = u64::from_le_bytes(*place);
    let room = at.checked_sub(place).and_then(|room| room.checked_sub(CONTENTS_HEAD));
    let (true, Some(room)) = (trailer.starts_with(TRAILER), room) else { return Ok(true) };
    let mut head = [0; CONTENTS_HEAD as usize];
    file.read_exact_at(&mut head, place)?;
    let Some((magic, count)) = head.split_first_chunk::<4>() else { return Ok(true) };
    let count = count.first_chunk().map_or(0, |count| u32::from_le_bytes(*count));
    Ok(magic != CONTENTS || u64::from(count) * ENTRY <= room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(count: u32) -> Vec<u8> {
        let mut bytes = b"blocks".to_vec();
        let place = bytes.len() as u64;
        bytes.extend_from_slice(CONTENTS);
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&[0; 2 * ENTRY as usize]);
        bytes.extend_from_slice(TRAILER);
        bytes.extend_from_slice(&[0; 18]);
        bytes.extend_from_slice(&place.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes
    }

    #[test]
    fn a_file_that_says_to_have_more_than_fits_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("keyspaces/1/tables");
        std::fs::create_dir_all(&table).unwrap();
        let write = |bytes: &[u8]| std::fs::write(table.join("7"), bytes).unwrap();
        for fine in [&file(0)[..], &file(2), b"", b"SFA!", &[0; 100], &file(2)[1..]] {
            write(fine);
            check(folder.path()).unwrap();
        }
        for many in [3, 1 << 30, u32::MAX] {
            write(&file(many));
            let error = check(folder.path()).unwrap_err();
            assert!(error.to_string().contains("tables/7 is damaged"), "{error}");
        }
        check(&folder.path().join("none")).unwrap();
    }

    fn tables(folder: &Path) -> Vec<std::path::PathBuf> {
        let inside = |path: std::path::PathBuf| if path.is_dir() { tables(&path) } else { vec![path] };
        let all = std::fs::read_dir(folder).unwrap().flat_map(|entry| inside(entry.unwrap().path()));
        all.filter(|path| std::fs::read(path).unwrap().windows(4).any(|bytes| bytes == CONTENTS)).collect()
    }

    #[test]
    fn no_file_of_a_real_store_takes_the_process_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let key = crate::StoreKey::new([3; 32]);
        let open = || crate::Store::open(folder.path(), &key, crate::Options::default());
        let store = open().unwrap();
        let log = store.log("notes").unwrap();
        cloudpal_log::Feed::append(&log, &[bytes::Bytes::from_static(&[7; 9000])]).unwrap();
        store.gc().unwrap();
        store.close().unwrap();
        let tables = tables(&folder.path().join("engine"));
        assert!(!tables.is_empty());
        for path in tables {
            let whole = std::fs::read(&path).unwrap();
            let place = whole.windows(4).rposition(|bytes| bytes == CONTENTS).unwrap();
            let mut flipped = whole.clone();
            flipped[place + 7] ^= 0x80;
            std::fs::write(&path, flipped).unwrap();
            assert!(open().is_err(), "{}", path.display());
            std::fs::write(&path, whole).unwrap();
        }
        open().unwrap();
    }
}
