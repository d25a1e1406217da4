//! The second place that remembers how long each log was, synced beside the engine's journal.
//!
//! Two files take turns. Each is a row of records of 128 bytes, sealed one by one, so that a torn or flipped one
//! costs itself alone. When a file is full, the newest record of every log goes to the head of the other one.
//! Records of one sync carry one group number, written before that sync is acknowledged; a higher number in the
//! file therefore proves that the group was acknowledged. Such lengths are *certain*: an engine that has less lost
//! something. The last group may have been cut off by a crash before anyone was told.

use super::crypt::{Crypt, OVERHEAD};
use bytes::Bytes;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// An id of a log on disk: 88 bits of the keyed hash of its discovery key. Nobody without the store's key can make two
/// logs meet.
pub(crate) type LogId = [u8; 11];

const RECORD: usize = 128;
const PLAIN: usize = RECORD - OVERHEAD;
const PLACE: &[u8] = b"lengths";
const NAMES: [&str; 2] = ["lengths.a", "lengths.b"];
/// Smallest size of a file. It is written in full before use, so that syncing an append changes no metadata.
const FLOOR: u64 = 1 << 20;

/// How long a log was, and whose log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The log's public key.
    pub key: [u8; 32],
    pub fork: u64,
    pub length: u64,
}

/// What one log's records say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// The newest record.
    pub newest: Mark,
    /// The newest record that was surely acknowledged.
    pub certain: Option<Mark>,
}

/// The open files.
pub(crate) struct Lengths {
    crypt: Crypt,
    files: [File; 2],
    /// Which file is appended to, where, and how large it is.
    turn: usize,
    at: u64,
    size: u64,
    group: u64,
    marks: HashMap<LogId, Mark>,
    /// What was lost and not given up: a shorter length is not recorded in its place.
    held: HashMap<LogId, Mark>,
}

struct Record {
    group: u64,
    /// None in a record that only says that all groups before its own were acknowledged.
    log: Option<(LogId, Mark)>,
}

impl Lengths {
    /// Opens or creates the files in `dir` and tells what they know.
    pub(crate) fn open(dir: &Path, crypt: Crypt) -> io::Result<(Self, HashMap<LogId, Known>)> {
        let open = |name| {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(name))
        };
        let files = [open(NAMES[0])?, open(NAMES[1])?];
        let mut records = Vec::new();
        // The newer file stays as it is until the other one has everything.
        let mut turn = (0, 0);
        for (number, file) in files.iter().enumerate() {
            let before = records.len();
            read_records(file, &crypt, &mut records)?;
            let newest = records[before..].iter().map(|record| record.group).max().unwrap_or(0);
            turn = turn.max((newest, number));
        }
        records.sort_by_key(|record| record.group);
        let last = records.last().map_or(0, |record| record.group);
        let known = digest(&records, last);
        let marks = known.iter().map(|(id, known)| (*id, known.newest)).collect();
        let mut lengths = Lengths {
            crypt,
            files,
            turn: turn.1,
            at: 0,
            size: 0,
            group: last + 2,
            marks,
            held: HashMap::new(),
        };
        // What was uncertain stays so until the engine was asked: nothing is written before the first sync.
        lengths.size = lengths.files[lengths.turn].metadata()?.len();
        lengths.at = lengths.size;
        Ok((lengths, known))
    }

    /// Takes each mark for the truth about its log, whatever was recorded; none forgets the log. Everything is written
    /// anew to both files, so that neither holds an older word.
    pub(crate) fn settle(&mut self, truths: &[(LogId, Option<Mark>)]) -> io::Result<()> {
        for (id, mark) in truths {
            self.held.remove(id);
            match mark {
                Some(mark) => self.marks.insert(*id, *mark),
                None => self.marks.remove(id),
            };
        }
        self.take_turns(&[])?;
        self.take_turns(&[])
    }

    /// Remembers `mark` until the log has reached it again, or it is [settled](Self::settle).
    pub(crate) fn hold(&mut self, id: LogId, mark: Mark) {
        self.marks.insert(id, mark);
        self.held.insert(id, mark);
    }

    /// Writes the marks and syncs. The caller acknowledges when this and the engine's own sync returned.
    pub(crate) fn record(&mut self, marks: &[(LogId, Mark)]) -> io::Result<()> {
        let reaches = |(id, mark): &(LogId, Mark)| {
            let reaches = |held: &Mark| (mark.fork, mark.length) >= (held.fork, held.length);
            self.held.get(id).is_none_or(reaches)
        };
        let marks: Vec<_> = marks.iter().copied().filter(reaches).collect();
        if marks.is_empty() {
            return Ok(());
        }
        self.put(&marks)?;
        for (id, mark) in marks {
            self.held.remove(&id);
            self.marks.insert(id, mark);
        }
        Ok(())
    }

    /// Notes that everything recorded so far was acknowledged.
    pub(crate) fn confirm(&mut self) -> io::Result<()> {
        self.put(&[])
    }

    /// Appends a group: marks, or one record that only tells that all groups before were acknowledged.
    fn put(&mut self, marks: &[(LogId, Mark)]) -> io::Result<()> {
        let bytes = self.group_bytes(marks);
        if self.at + bytes.len() as u64 > self.size {
            return self.take_turns(marks);
        }
        self.files[self.turn].write_all_at(&bytes, self.at)?;
        self.files[self.turn].sync_data()?;
        self.at += bytes.len() as u64;
        self.group += 1;
        Ok(())
    }

    fn group_bytes(&self, marks: &[(LogId, Mark)]) -> Vec<u8> {
        let group = self.group;
        if marks.is_empty() {
            return self.seal(&Record { group, log: None });
        }
        marks.iter().flat_map(|mark| self.seal(&Record { group, log: Some(*mark) })).collect()
    }

    /// Goes on in the other file. It begins with what was acknowledged before, as a group of its own.
    fn take_turns(&mut self, marks: &[(LogId, Mark)]) -> io::Result<()> {
        let group = self.group - 1;
        let mut bytes = Vec::new();
        for (id, mark) in &self.marks {
            bytes.extend(self.seal(&Record { group, log: Some((*id, *mark)) }));
        }
        bytes.extend(self.group_bytes(marks));
        let used = bytes.len() as u64;
        let size = FLOOR.max((used * 4).next_power_of_two());
        bytes.resize(size as usize, 0);
        let other = 1 - self.turn;
        self.files[other].set_len(size)?;
        self.files[other].write_all_at(&bytes, 0)?;
        self.files[other].sync_all()?;
        (self.turn, self.at, self.size) = (other, used, size);
        self.group += 1;
        Ok(())
    }

    fn seal(&self, record: &Record) -> Vec<u8> {
        let mut plain = [0; PLAIN];
        plain[..8].copy_from_slice(&record.group.to_le_bytes());
        if let Some((id, mark)) = &record.log {
            plain[8] = 1;
            plain[9..20].copy_from_slice(id);
            plain[25..57].copy_from_slice(&mark.key);
            plain[57..65].copy_from_slice(&mark.fork.to_le_bytes());
            plain[65..73].copy_from_slice(&mark.length.to_le_bytes());
        }
        self.crypt.seal(PLACE, &plain)
    }
}

fn read_records(mut file: &File, crypt: &Crypt, records: &mut Vec<Record>) -> io::Result<()> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    for record in bytes.chunks_exact(RECORD).filter(|record| **record != [0; RECORD]) {
        records.extend(crypt.open(PLACE, Bytes::copy_from_slice(record)).and_then(|plain| parse(&plain)));
    }
    Ok(())
}

fn parse(plain: &[u8]) -> Option<Record> {
    let plain: &[u8; PLAIN] = plain.try_into().ok()?;
    let number = |at: usize| plain[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    let group = number(0)?;
    if plain[8] == 0 {
        return Some(Record { group, log: None });
    }
    let id = plain[9..20].try_into().ok()?;
    let mark = Mark { key: plain[25..57].try_into().ok()?, fork: number(57)?, length: number(65)? };
    Some(Record { group, log: Some((id, mark)) })
}

fn digest(records: &[Record], last: u64) -> HashMap<LogId, Known> {
    let mut known: HashMap<LogId, Known> = HashMap::new();
    for record in records {
        let Some((id, mark)) = record.log else { continue };
        let certain = (record.group < last).then_some(mark);
        known
            .entry(id)
            .and_modify(|known| *known = Known { newest: mark, certain: certain.or(known.certain) })
            .or_insert(Known { newest: mark, certain });
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudpal_core::Secret;

    fn open(dir: &Path) -> (Lengths, HashMap<LogId, Known>) {
        Lengths::open(dir, Crypt::new(Secret::new([1; 32])).unwrap()).unwrap()
    }

    fn mark(length: u64) -> Mark {
        Mark { key: [4; 32], fork: 0, length }
    }

    #[test]
    fn the_last_group_is_uncertain_until_confirmed() {
        let dir = tempfile::tempdir().unwrap();
        let id = [1; 11];
        let mut lengths = open(dir.path()).0;
        lengths.record(&[(id, mark(1))]).unwrap();
        lengths.record(&[(id, mark(2))]).unwrap();
        let known = open(dir.path()).1[&id];
        assert_eq!(known, Known { newest: mark(2), certain: Some(mark(1)) });
        lengths.confirm().unwrap();
        assert_eq!(open(dir.path()).1[&id].certain, Some(mark(2)));
    }

    #[test]
    fn what_was_lost_is_not_forgotten_for_a_shorter_length() {
        let dir = tempfile::tempdir().unwrap();
        let id = [1; 11];
        let mut lengths = open(dir.path()).0;
        lengths.record(&[(id, mark(9))]).unwrap();
        lengths.confirm().unwrap();
        let mut lengths = open(dir.path()).0;
        lengths.hold(id, mark(9));
        lengths.record(&[(id, mark(0)), ([2; 11], mark(1))]).unwrap();
        lengths.confirm().unwrap();
        let known = open(dir.path()).1;
        assert_eq!((known[&id].certain, known[&[2; 11]].certain), (Some(mark(9)), Some(mark(1))));
        lengths.record(&[(id, mark(10))]).unwrap();
        lengths.record(&[(id, mark(2))]).unwrap();
        assert_eq!(open(dir.path()).1[&id].newest, mark(2));
    }

    #[test]
    fn what_is_certain_stays_so_over_openings() {
        let dir = tempfile::tempdir().unwrap();
        let id = [1; 11];
        for round in 0..6 {
            let mut lengths = open(dir.path()).0;
            lengths.record(&[(id, mark(round * 2 + 1))]).unwrap();
            lengths.record(&[(id, mark(round * 2 + 2))]).unwrap();
            if round % 2 == 0 {
                lengths.confirm().unwrap();
            }
            let certain = round * 2 + 1 + u64::from(round % 2 == 0);
            assert_eq!(open(dir.path()).1[&id].certain, Some(mark(certain)), "round {round}");
            // Nothing but a confirmation in between.
            let mut lengths = open(dir.path()).0;
            lengths.confirm().unwrap();
            assert_eq!(open(dir.path()).1[&id].certain, Some(mark(round * 2 + 2)), "round {round}");
        }
    }

    #[test]
    fn files_take_turns_and_nothing_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let quiet = [9; 11];
        let mut lengths = open(dir.path()).0;
        lengths.record(&[(quiet, mark(77))]).unwrap();
        let busy = [1; 11];
        let rounds = 2 * FLOOR / RECORD as u64 + 500;
        for length in 1..=rounds {
            let bytes = lengths.group_bytes(&[(busy, mark(length))]);
            if lengths.at + RECORD as u64 > lengths.size {
                lengths.take_turns(&[(busy, mark(length))]).unwrap();
            } else {
                // As `put`, without 16,000 syncs.
                lengths.files[lengths.turn].write_all_at(&bytes, lengths.at).unwrap();
                lengths.at += RECORD as u64;
                lengths.group += 1;
            }
            lengths.marks.insert(busy, mark(length));
        }
        lengths.confirm().unwrap();
        let known = open(dir.path()).1;
        assert_eq!(known[&quiet].certain, Some(mark(77)));
        assert_eq!(known[&busy].certain, Some(mark(rounds)));
        let size = std::fs::metadata(dir.path().join(NAMES[0])).unwrap().len();
        assert_eq!(size % FLOOR, 0);
    }

    #[test]
    fn a_flipped_byte_costs_one_record_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let mut lengths = open(dir.path()).0;
        for length in 1..=6 {
            lengths.record(&[([1; 11], mark(length))]).unwrap();
        }
        lengths.confirm().unwrap();
        let file = dir.path().join(NAMES[lengths.turn]);
        let good = std::fs::read(&file).unwrap();
        for at in (0..RECORD * 7).step_by(5) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(&file, &bad).unwrap();
            let certain = open(dir.path()).1[&[1; 11]].certain.unwrap().length;
            assert!(certain >= 5, "byte {at}: {certain}");
        }
    }
}
