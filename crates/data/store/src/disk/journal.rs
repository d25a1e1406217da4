//! Reads the engine's journal before the engine does.
//!
//! fjall 3.1 refuses to open, or allocates by an unchecked length, when a crash tore a batch whose end marker
//! reached the disk before its middle. So the journal is checked here first and cut after its last whole batch; the
//! engine then finds only what it can read. What is cut off is kept in a file until it is known whether a crash
//! explains it; if not, [`salvage`] finds the whole batches behind the damage.
//!
//! Format (fjall 3.1, `journal/entry.rs`), little-endian: start = 1, count u32, seqno u64; item = 2, type,
//! compression, keyspace u64, key length u16, value length u32, length on disk u32, key, value; clear = 4,
//! keyspace u64; end = 3, xxh3 of the entries between, "FJL" 3.

use super::tables::{Version, What};
use rustix::fs::SeekFrom as RawSeek;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const MAGIC: &[u8; 4] = b"FJL\x03";
const START_LEN: usize = 13;
const ITEM_HEAD: usize = 21;
const CLEAR_LEN: usize = 9;
const END_LEN: usize = 13;
/// The engine counts its batches one by one. The count is under no checksum, so a leap means a flipped bit.
const LEAP: u64 = 1 << 24;

/// One change of a batch as the journal holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub keyspace: u64,
    pub key: Vec<u8>,
    /// None when the key was removed.
    pub value: Option<Vec<u8>>,
}

/// Changes that were made at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// How many batches the engine had counted.
    pub count: u64,
    pub items: Vec<Item>,
}

impl Batch {
    /// The same, as a table would have them.
    pub(super) fn versions(self) -> impl Iterator<Item = Version> {
        let count = self.count;
        self.items.into_iter().map(move |Item { key, value, .. }| {
            let what = value.map_or(What::Removed, What::Value);
            Version { key, count, what }
        })
    }
}

/// Checks all journals of the engine in `engine`, oldest first, and cuts each after its last whole batch. Returns
/// the files in `aside` that hold what was cut off.
pub(crate) fn check(engine: &Path, aside: &Path) -> io::Result<Vec<PathBuf>> {
    let mut cut = Vec::new();
    let mut count = None;
    for (number, path) in journals(engine)? {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let len = file.metadata()?.len();
        let kept = whole_batches(&file, len, &mut count)?;
        if let Some(end) = last_data(&file, kept, len)? {
            std::fs::create_dir_all(aside)?;
            let kept_aside = aside.join(format!("{number}.cut"));
            set_aside(&file, kept, end, &kept_aside)?;
            file.set_len(kept)?;
            file.sync_all()?;
            cut.push(kept_aside);
        }
    }
    Ok(cut)
}

/// Empties all journals of the engine in `engine`. They must not be missing: the engine counts on from them.
pub(crate) fn empty(engine: &Path) -> io::Result<()> {
    for (_, path) in journals(engine)? {
        let file = OpenOptions::new().write(true).open(&path)?;
        file.set_len(0)?;
        file.sync_all()?;
    }
    Ok(())
}

/// Whole batches anywhere in `tail`, in order. Looks for the next start where bytes make no sense.
pub(crate) fn salvage(tail: &[u8]) -> Vec<Batch> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = tail.get(at..).filter(|rest| !rest.is_empty()) {
        let mut items = Vec::new();
        match batch(&mut &rest[..], rest.len() as u64, Some(&mut items)) {
            Ok(Some(whole)) => {
                let after = found.last().map_or(0, |batch: &Batch| batch.count);
                let fits = whole.count > after && (after == 0 || whole.count - after < LEAP);
                let count = if fits { whole.count } else { after + 1 };
                found.push(Batch { count, items });
                at += whole.len as usize;
            }
            _ => at += 1 + rest[1..].iter().position(|byte| *byte == START).unwrap_or(rest.len()),
        }
    }
    found
}

pub(super) fn journals(engine: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(engine) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let number =
            path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found)
}

/// How many bytes at the head are whole batches whose counts rise.
fn whole_batches(file: &File, len: u64, count: &mut Option<u64>) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    reader.seek(SeekFrom::Start(0))?;
    let mut kept = 0;
    while let Some(whole) = batch(&mut reader, len - kept, None)? {
        let fits = |before: u64| whole.count > before && whole.count - before < LEAP;
        if !count.map_or(whole.count < 1 << 48, fits) {
            break;
        }
        *count = Some(whole.count);
        kept += whole.len;
    }
    Ok(kept)
}

/// The end of what is not zero at or after `from`; none when there is nothing. The engine makes a journal as a hole
/// of 64 MiB, so holes are skipped.
fn last_data(file: &File, from: u64, len: u64) -> io::Result<Option<u64>> {
    let mut end = None;
    let mut at = from;
    let mut bytes = vec![0; 1 << 16];
    while at < len {
        at = match rustix::fs::seek(file, RawSeek::Data(at)) {
            Ok(at) => at,
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let mut reader = file;
        reader.seek(SeekFrom::Start(at))?;
        let read = reader.read(&mut bytes)?;
        if read == 0 {
            break;
        }
        if let Some(last) = bytes[..read].iter().rposition(|byte| *byte != 0) {
            end = Some(at + last as u64 + 1);
        }
        at += read as u64;
    }
    Ok(end)
}

fn set_aside(file: &File, from: u64, end: u64, path: &Path) -> io::Result<()> {
    let mut reader = file;
    reader.seek(SeekFrom::Start(from))?;
    let mut copy = File::create(path)?;
    io::copy(&mut reader.take(end - from), &mut copy)?;
    copy.flush()?;
    copy.sync_all()
}

struct Whole {
    count: u64,
    len: u64,
}

/// Reads one batch of at most `left` bytes; none when what is there is not a whole batch.
fn batch(reader: &mut impl Read, left: u64, mut items: Option<&mut Vec<Item>>) -> io::Result<Option<Whole>> {
    let Some(start) = read::<START_LEN>(reader)?.filter(|start| start[0] == START) else { return Ok(None) };
    let (entries, count) = (u32_at(&start, 1), u64_at(&start, 5));
    let mut len = START_LEN as u64;
    let mut hash = Xxh3::new();
    for _ in 0..entries {
        let room = left.saturating_sub(len);
        let Some(entry) = entry(reader, room, &mut hash, items.as_deref_mut())? else { return Ok(None) };
        len += entry;
    }
    let Some(end) = read::<END_LEN>(reader)? else { return Ok(None) };
    let whole = end[0] == END && &end[9..] == MAGIC && u64_at(&end, 1) == hash.digest();
    Ok(whole.then_some(Whole { count, len: len + END_LEN as u64 }))
}

/// Reads one entry of a batch and tells its length.
fn entry(
    reader: &mut impl Read,
    room: u64,
    hash: &mut Xxh3,
    items: Option<&mut Vec<Item>>,
) -> io::Result<Option<u64>> {
    let Some(tag) = read::<1>(reader)? else { return Ok(None) };
    hash.update(&tag);
    if tag[0] == CLEAR {
        let Some(keyspace) = read::<{ CLEAR_LEN - 1 }>(reader)? else { return Ok(None) };
        hash.update(&keyspace);
        return Ok(Some(CLEAR_LEN as u64));
    }
    let Some(head) = read::<{ ITEM_HEAD - 1 }>(reader)? else { return Ok(None) };
    hash.update(&head);
    let (kind, compression, keyspace) = (head[0], head[1], u64_at(&head, 2));
    let key_len = u64::from(u16::from_le_bytes([head[10], head[11]]));
    let (value_len, on_disk) = (u64::from(u32_at(&head, 12)), u64::from(u32_at(&head, 16)));
    let len = ITEM_HEAD as u64 + key_len + value_len;
    // Types: 0 a value, 1 and 2 removals. This store never compresses.
    if tag[0] != ITEM || kind > 2 || compression != 0 || value_len != on_disk || len > room {
        return Ok(None);
    }
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let keep = items.is_some();
    if !pass(reader, key_len, hash, keep.then_some(&mut key))?
        || !pass(reader, value_len, hash, keep.then_some(&mut value))?
    {
        return Ok(None);
    }
    if let Some(items) = items {
        items.push(Item { keyspace, key, value: (kind == 0).then_some(value) });
    }
    Ok(Some(len))
}

/// Hashes `len` bytes, and keeps them if asked. False at the end of the file.
fn pass(
    reader: &mut impl Read,
    len: u64,
    hash: &mut Xxh3,
    mut keep: Option<&mut Vec<u8>>,
) -> io::Result<bool> {
    let mut left = len as usize;
    let mut bytes = [0; 4096];
    while left > 0 {
        let want = left.min(bytes.len());
        let read = reader.read(&mut bytes[..want])?;
        if read == 0 {
            return Ok(false);
        }
        hash.update(&bytes[..read]);
        if let Some(keep) = &mut keep {
            keep.extend_from_slice(&bytes[..read]);
        }
        left -= read;
    }
    Ok(true)
}

fn read<const N: usize>(reader: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match reader.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fjall::{Database, KeyspaceCreateOptions};

    /// A journal of 20 batches as the engine writes it, and where it ends.
    fn written(dir: &Path) -> (PathBuf, usize) {
        let db = Database::builder(dir).open().unwrap();
        let room = db.keyspace("a", KeyspaceCreateOptions::default).unwrap();
        for number in 0..20_u8 {
            let mut batch = db.batch();
            batch.insert(&room, [number], vec![number; 1 + usize::from(number) * 30]);
            batch.remove(&room, [number, 1]);
            batch.commit().unwrap();
        }
        let path = dir.join("0.jnl");
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1)
    }

    #[test]
    fn a_sound_journal_is_left_alone_and_every_cut_leaves_whole_batches() {
        let dir = tempfile::tempdir().unwrap();
        let (path, end) = written(dir.path());
        let aside = dir.path().join("aside");
        assert_eq!(check(dir.path(), &aside).unwrap(), Vec::<PathBuf>::new());
        let good = std::fs::read(&path).unwrap();
        assert_eq!(salvage(&good[..end]).len(), 20);
        for at in (0..end).step_by(7) {
            std::fs::write(&path, &good[..at]).unwrap();
            check(dir.path(), &aside).unwrap();
            let kept = std::fs::read(&path).unwrap();
            assert!(kept.len() <= at && good.starts_with(&kept));
            assert_eq!(salvage(&kept), salvage(&good[..at]), "cut at {at}");
        }
    }

    #[test]
    fn a_flipped_byte_costs_one_batch() {
        let dir = tempfile::tempdir().unwrap();
        let (path, end) = written(dir.path());
        let good = std::fs::read(&path).unwrap();
        let all = salvage(&good[..end]);
        for at in (0..end).step_by(11) {
            let mut bad = good[..end].to_vec();
            bad[at] ^= 0x21;
            let found = salvage(&bad);
            assert!(found.len() >= 19, "byte {at}: {}", found.len());
            let wrote = |batch: &Batch| all.iter().any(|good| good.items == batch.items);
            assert!(found.iter().all(wrote), "byte {at}: a batch that nobody wrote");
            assert!(found.is_sorted_by_key(|batch| batch.count), "byte {at}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_wait() {
        let mut word = 88_172_645_463_325_252_u64;
        for round in 0..300 {
            let bytes: Vec<u8> = (0..400)
                .map(|_| {
                    word ^= word << 13;
                    word ^= word >> 7;
                    word ^= word << 17;
                    // Mostly bytes that mean something.
                    if word & 0x300 == 0 { word as u8 } else { (word as u8) % 4 }
                })
                .collect();
            salvage(&bytes[..round]);
            salvage(&bytes);
        }
    }
}
