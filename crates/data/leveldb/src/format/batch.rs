//! A batch of writes, as a log holds it.

use super::Input;
use super::key::{Did, Tag};

/// One write: key, what it is, value (empty for a deletion).
pub type Entry<'a> = (&'a [u8], Tag, &'a [u8]);

/// The writes of a record, in order; none if it is no batch.
pub fn parse(record: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut input = Input::new(record);
    let first = input.u64().filter(|sequence| *sequence < 1 << 56)?;
    let count = input.u32()? as usize;
    // Two bytes are the least that a write takes.
    let mut entries = Vec::with_capacity(count.min(input.len() / 2));
    for sequence in first..first + count as u64 {
        entries.push(match input.byte()? {
            0 => (input.buffer()?, Tag::new(sequence, Did::Delete), &[][..]),
            1 => (input.buffer()?, Tag::new(sequence, Did::Put), input.buffer()?),
            _ => return None,
        });
    }
    input.is_empty().then_some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_numbered_one_after_another() {
        let record =
            [&7_u64.to_le_bytes()[..], &2_u32.to_le_bytes(), &[1, 1, b'a', 2, b'x', b'y', 0, 0]].concat();
        let expected: [Entry<'_>; 2] =
            [(b"a", Tag::new(7, Did::Put), b"xy"), (b"", Tag::new(8, Did::Delete), b"")];
        assert_eq!(parse(&record), Some(expected.to_vec()));
        for cut in 0..record.len() {
            assert_eq!(parse(&record[..cut]), None, "{cut}");
        }
        assert_eq!(parse(&[&record[..], &[0]].concat()), None);
    }

    #[test]
    fn a_count_that_cannot_be_true_takes_no_memory() {
        assert_eq!(parse(&[&1_u64.to_le_bytes()[..], &u32::MAX.to_le_bytes()].concat()), None);
    }
}
