//! What the MANIFEST says: which tables there are and where, as changes one after another.

use super::{Input, push_buffer, push_varint};

/// Levels that there are.
pub const LEVELS: u32 = 7;
/// The only order of keys that is read and written here.
pub const COMPARATOR: &[u8] = b"leveldb.BytewiseComparator";

/// A table as the MANIFEST has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMeta {
    /// Its number, which names its file.
    pub number: u64,
    /// Bytes of the file.
    pub size: u64,
    /// The first key, with tag.
    pub smallest: Vec<u8>,
    /// The last one.
    pub largest: Vec<u8>,
}

/// One change of what there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edit {
    /// The name of the order of keys.
    pub comparator: Option<Vec<u8>>,
    /// Logs before this number are in tables already.
    pub log: Option<u64>,
    /// A log that still counts besides, of old versions.
    pub previous_log: Option<u64>,
    /// The next number for a file.
    pub next_file: Option<u64>,
    /// The last write that is in tables.
    pub last_sequence: Option<u64>,
    /// Tables that are gone: level and number.
    pub deleted: Vec<(u32, u64)>,
    /// Tables that are new, and their levels.
    pub added: Vec<(u32, TableMeta)>,
}

/// Reads a record of a MANIFEST; none if it is no change.
pub fn parse(record: &[u8]) -> Option<Edit> {
    let mut input = Input::new(record);
    let mut edit = Edit::default();
    while !input.is_empty() {
        match input.varint32()? {
            1 => edit.comparator = Some(input.buffer()?.to_vec()),
            2 => edit.log = Some(input.varint()?),
            3 => edit.next_file = Some(input.varint()?),
            4 => edit.last_sequence = Some(input.varint()?),
            // Where the next compaction of a level begins matters to LevelDB alone.
            5 => {
                level(&mut input)?;
                input.buffer()?;
            }
            6 => edit.deleted.push((level(&mut input)?, input.varint()?)),
            7 => {
                let (level, number, size) = (level(&mut input)?, input.varint()?, input.varint()?);
                let (smallest, largest) = (input.buffer()?.to_vec(), input.buffer()?.to_vec());
                edit.added.push((level, TableMeta { number, size, smallest, largest }));
            }
            9 => edit.previous_log = Some(input.varint()?),
            _ => return None,
        }
    }
    Some(edit)
}

fn level(input: &mut Input<'_>) -> Option<u32> {
    input.varint32().filter(|level| *level < LEVELS)
}

impl Edit {
    /// As a record of a MANIFEST.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(comparator) = &self.comparator {
            out.push(1);
            push_buffer(&mut out, comparator);
        }
        let numbers = [(2, self.log), (9, self.previous_log), (3, self.next_file), (4, self.last_sequence)];
        for (tag, number) in numbers.into_iter().filter_map(|(tag, number)| Some((tag, number?))) {
            out.push(tag);
            push_varint(&mut out, number);
        }
        for (level, number) in &self.deleted {
            out.push(6);
            push_varint(&mut out, u64::from(*level));
            push_varint(&mut out, *number);
        }
        for (level, table) in &self.added {
            out.push(7);
            for number in [u64::from(*level), table.number, table.size] {
                push_varint(&mut out, number);
            }
            push_buffer(&mut out, &table.smallest);
            push_buffer(&mut out, &table.largest);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_comes_back_and_a_part_of_it_is_another_or_none() {
        let table =
            TableMeta { number: 300, size: 1 << 40, smallest: b"a\0".to_vec(), largest: vec![0xff; 200] };
        let edit = Edit {
            comparator: Some(COMPARATOR.to_vec()),
            log: Some(5),
            previous_log: Some(0),
            next_file: Some(301),
            last_sequence: Some(u64::MAX >> 8),
            deleted: vec![(0, 7), (6, 1 << 33)],
            added: vec![(6, table)],
        };
        let record = edit.encode();
        assert_eq!(parse(&record), Some(edit.clone()));
        assert!((0..record.len()).all(|cut| parse(&record[..cut]).as_ref() != Some(&edit)));
    }

    #[test]
    fn levels_and_fields_that_do_not_exist_are_refused() {
        assert_eq!(parse(&[6, 7, 1]), None);
        assert_eq!(parse(&[8, 1]), None);
        assert!(parse(&[6, 6, 1]).is_some());
    }
}
