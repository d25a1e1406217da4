//! Logs (and the MANIFEST, which is one): records in blocks of 32 KiB, each piece with a checksum.

use super::{Damage, Input, checksum};
use std::borrow::Cow;

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// What a log holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Records<'a> {
    /// Records and where they begin.
    pub whole: Vec<(u64, Cow<'a, [u8]>)>,
    /// Where a record begins that was never finished, because its program or the power went. Nobody was told that it is written.
    pub unfinished: Option<u64>,
}

/// One piece of a record.
struct Piece<'a> {
    kind: u8,
    data: &'a [u8],
}

/// Reads a whole log.
pub fn parse(file: &[u8]) -> Result<Records<'_>, Damage> {
    let mut records = Records::default();
    let mut open: Option<(u64, Vec<u8>)> = None;
    let mut at = 0;
    while at < file.len() {
        let left = BLOCK - at % BLOCK;
        if left < HEADER {
            let end = (at + left).min(file.len());
            if file[at..end].iter().any(|byte| *byte != 0) {
                return Err(Damage {
                    offset: at as u64,
                    what: "something is in the gap at the end of a block",
                });
            }
            at = end;
            continue;
        }
        let Some(piece) = piece(file, at, left)? else {
            records.unfinished = Some(open.map_or(at as u64, |(start, _)| start));
            return Ok(records);
        };
        let wrong = |what| Err(Damage { offset: at as u64, what });
        match (piece.kind, open.take()) {
            (FULL, None) => records.whole.push((at as u64, Cow::Borrowed(piece.data))),
            (FIRST, None) => open = Some((at as u64, piece.data.to_vec())),
            (MIDDLE | LAST, Some((start, mut data))) => {
                data.extend_from_slice(piece.data);
                if piece.kind == LAST {
                    records.whole.push((start, Cow::Owned(data)));
                } else {
                    open = Some((start, data));
                }
            }
            (FULL | FIRST, Some(_)) => return wrong("a record begins before the one in front of it ends"),
            (MIDDLE | LAST, None) => return wrong("a record goes on that never began"),
            _ => return wrong("a piece of a record is of an unknown kind"),
        }
        at += HEADER + piece.data.len();
    }
    records.unfinished = open.map(|(start, _)| start);
    Ok(records)
}

/// The piece at `at`, with `left` bytes to the end of the block; none if the file ends before it does.
fn piece(file: &[u8], at: usize, left: usize) -> Result<Option<Piece<'_>>, Damage> {
    let wrong = |what| Err(Damage { offset: at as u64, what });
    let mut input = Input::new(&file[at..]);
    let (Some(sum), Some(length), Some(kind)) = (input.u32(), input.u16(), input.byte()) else {
        return Ok(None);
    };
    // File systems may show a file longer than what was written to it before the power went.
    if (sum, length, kind) == (0, 0, 0) && file[at..].iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    if HEADER + usize::from(length) > left {
        return wrong("a piece of a record is longer than its block");
    }
    let Some(data) = input.bytes(usize::from(length)) else { return Ok(None) };
    if checksum(&[&[kind], data]) != sum {
        return wrong("the checksum of a piece of a record is wrong");
    }
    Ok(Some(Piece { kind, data }))
}

/// Appends a record to a log.
pub fn push(file: &mut Vec<u8>, record: &[u8]) {
    let mut rest = record;
    let mut is_first = true;
    loop {
        let left = BLOCK - file.len() % BLOCK;
        if left < HEADER {
            file.resize(file.len() + left, 0);
            continue;
        }
        let (data, more) = rest.split_at(rest.len().min(left - HEADER));
        let kind = match (is_first, more.is_empty()) {
            (true, true) => FULL,
            (true, false) => FIRST,
            (false, false) => MIDDLE,
            (false, true) => LAST,
        };
        file.extend_from_slice(&checksum(&[&[kind], data]).to_le_bytes());
        file.extend_from_slice(&(data.len() as u16).to_le_bytes());
        file.push(kind);
        file.extend_from_slice(data);
        if more.is_empty() {
            return;
        }
        (rest, is_first) = (more, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lengths: &[usize]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let records: Vec<Vec<u8>> =
            lengths.iter().enumerate().map(|(at, length)| vec![at as u8 + 1; *length]).collect();
        let mut file = Vec::new();
        records.iter().for_each(|record| push(&mut file, record));
        (file, records)
    }

    #[test]
    fn records_of_any_length_come_back() {
        // A gap of 0 to 8 bytes at the end of the first block, empty records, and some over several blocks.
        for gap in 0..9 {
            let (file, records) = log(&[BLOCK - HEADER - gap, 0, 1, 100_000, 5]);
            let parsed = parse(&file).expect("it is whole");
            let whole: Vec<_> = parsed.whole.into_iter().map(|(_, record)| record.into_owned()).collect();
            assert_eq!((whole, parsed.unfinished), (records, None), "{gap}");
        }
    }

    #[test]
    fn what_a_crash_cut_off_is_left_out_and_told() {
        let (file, records) = log(&[10, 70_000]);
        for cut in 18..file.len() {
            let parsed = parse(&file[..cut]).expect("only its end is missing");
            assert_eq!(parsed.whole, [(0, Cow::Borrowed(&records[0][..]))]);
            assert_eq!(parsed.unfinished, Some(17), "{cut}");
        }
        let mut padded = file.clone();
        padded.resize(file.len() + 50_000, 0);
        let parsed = parse(&padded).expect("zeros are what was never written");
        assert_eq!((parsed.whole.len(), parsed.unfinished), (2, Some(file.len() as u64)));
    }

    #[test]
    fn a_flipped_bit_is_damage_or_cuts_the_end_off_and_never_changes_a_record() {
        let (file, records) = log(&[10, 300, 20]);
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[at] ^= 1 << bit;
                if let Ok(parsed) = parse(&flipped) {
                    assert!(parsed.unfinished.is_some(), "byte {at}, bit {bit}");
                    let whole = parsed.whole.iter().map(|(_, record)| record.to_vec());
                    assert!(whole.eq(records.iter().take(parsed.whole.len()).cloned()));
                }
            }
        }
    }

    #[test]
    fn zeros_between_records_are_damage() {
        let (mut file, _) = log(&[10]);
        file.resize(40, 0);
        file.extend_from_slice(&log(&[10]).0);
        assert_eq!(parse(&file).map_err(|damage| damage.offset), Err(17));
    }
}
