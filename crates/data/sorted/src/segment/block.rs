//! A block: entries in the order of their keys, each key without what it shares with the one before.
//!
//! ```text
//! key       shared: varint, more: varint, value: varint (0 deleted, else length + 1), bytes that are not shared
//! restart   offset of its key, offset of its value among the values: u32 LE each
//! block     key*, value*, restart*, end of the keys: u32 LE, number of restarts: u32 LE
//! ```
//!
//! Every sixteenth key is a *restart* and shares nothing, so that a search can begin there. Keys lie together, apart from
//! the values, because a search that looks at many of them then touches little memory.

use crate::codec::{put_varint, u32_at, varint};
use crate::error::Detail;
use bytes::Bytes;
use std::cmp::Ordering;
use std::ops::Range;

const RESTART_EVERY: usize = 16;

/// Bytes of a restart, and of what follows them.
const RESTART: usize = 8;
const TRAILER: usize = 8;

/// Makes one block after another.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    keys: Vec<u8>,
    values: Vec<u8>,
    restarts: Vec<[u32; 2]>,
    since_restart: usize,
    last: Vec<u8>,
}

impl BlockBuilder {
    /// Appends an entry whose key is greater than all before.
    pub fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        let mut shared = 0;
        if self.restarts.is_empty() || self.since_restart == RESTART_EVERY {
            self.restarts.push([self.keys.len() as u32, self.values.len() as u32]);
            self.since_restart = 0;
        } else {
            shared = common(&self.last, key);
        }
        self.since_restart += 1;
        put_varint(&mut self.keys, shared as u64);
        put_varint(&mut self.keys, (key.len() - shared) as u64);
        put_varint(&mut self.keys, value.map_or(0, |value| value.len() as u64 + 1));
        self.keys.extend_from_slice(&key[shared..]);
        self.values.extend_from_slice(value.unwrap_or_default());
        self.last.truncate(shared);
        self.last.extend_from_slice(&key[shared..]);
    }

    /// Bytes that the block has now.
    pub fn len(&self) -> usize {
        self.keys.len() + self.values.len() + RESTART * self.restarts.len() + TRAILER
    }

    pub fn is_empty(&self) -> bool {
        self.restarts.is_empty()
    }

    /// The key added last, to whichever block.
    pub fn last(&self) -> &[u8] {
        &self.last
    }

    /// The block. The builder is empty again.
    pub fn finish(&mut self) -> Bytes {
        let mut out = Vec::with_capacity(self.len());
        let trailer = [self.keys.len() as u32, self.restarts.len() as u32];
        out.append(&mut self.keys);
        out.append(&mut self.values);
        for number in self.restarts.drain(..).flatten().chain(trailer) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.into()
    }
}

/// How many bytes two keys begin with together.
pub(crate) fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A page that begins and ends like a block. Its entries are checked when they are read.
#[derive(Debug)]
pub(crate) struct Block {
    page: Bytes,
    keys_end: usize,
    values_end: usize,
    restarts: usize,
}

/// One entry of an interval: where its key is in the interval, its value in the page.
#[derive(Debug, Clone)]
struct Item {
    key: Range<usize>,
    value: Option<Range<usize>>,
}

/// The entries from one restart to the next.
#[derive(Debug, Default)]
pub(crate) struct Interval {
    keys: Vec<u8>,
    items: Vec<Item>,
}

impl Block {
    pub fn parse(page: Bytes) -> Result<Block, Detail> {
        const SHORT: Detail = "it is too short for a block";
        let trailer = page.len().checked_sub(TRAILER).ok_or(SHORT)?;
        let keys_end = u32_at(&page, trailer).ok_or(SHORT)? as usize;
        let restarts = u32_at(&page, trailer + 4).ok_or(SHORT)? as usize;
        let values_end =
            restarts.checked_mul(RESTART).and_then(|table| trailer.checked_sub(table)).ok_or(SHORT)?;
        if restarts == 0 || keys_end > values_end {
            return Err("its entries have no beginning");
        }
        Ok(Block { page, keys_end, values_end, restarts })
    }

    /// How many restarts there are: one at least.
    pub fn intervals(&self) -> usize {
        self.restarts
    }

    pub fn page(&self) -> &Bytes {
        &self.page
    }

    /// The last interval that begins with this key or a lesser one, or else the first.
    pub fn find(&self, key: &[u8]) -> Result<usize, Detail> {
        let (mut low, mut high) = (0, self.restarts);
        while high - low > 1 {
            let middle = low.midpoint(high);
            if self.first_key(middle)? <= key {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// What the block says of a key: nothing, that it was deleted, or where its value lies in the page.
    pub fn get(&self, wanted: &[u8]) -> Result<Option<Option<Range<usize>>>, Detail> {
        let [(mut at, mut value_at), (end, values_end)] = self.span(self.find(wanted)?)?;
        let bytes = &self.page[..end];
        // How many bytes of `wanted` the key before began with. It was less than `wanted`.
        let mut same = 0;
        while at < end {
            let shared = small(bytes, &mut at)?;
            let more = small(bytes, &mut at)?;
            let value = small(bytes, &mut at)?;
            let suffix_end = at.checked_add(more).ok_or(BAD_KEY)?;
            let suffix = bytes.get(at..suffix_end).ok_or(BAD_KEY)?;
            at = suffix_end;
            let length = value.saturating_sub(1);
            let value_end = value_at
                .checked_add(length)
                .filter(|end| *end <= values_end)
                .ok_or("a value does not fit")?;
            if shared < same {
                // It is greater than the key before where that was like `wanted`.
                return Ok(None);
            }
            if shared == same {
                let rest = &wanted[same..];
                match suffix.cmp(rest) {
                    Ordering::Less => same += common(suffix, rest),
                    Ordering::Equal => return Ok(Some((value > 0).then_some(value_at..value_end))),
                    Ordering::Greater => return Ok(None),
                }
            }
            value_at = value_end;
        }
        Ok(None)
    }

    /// Reads an interval. An error leaves anything in `into`.
    pub fn read(&self, interval: usize, into: &mut Interval) -> Result<(), Detail> {
        into.keys.clear();
        into.items.clear();
        let [(mut at, mut value_at), (end, values_end)] = self.span(interval)?;
        let bytes = &self.page[..end];
        let mut before = 0..0;
        while at < end {
            let shared = small(bytes, &mut at)?;
            let more = small(bytes, &mut at)?;
            let value = small(bytes, &mut at)?;
            let suffix_end = at.checked_add(more).ok_or(BAD_KEY)?;
            let suffix = bytes.get(at..suffix_end).ok_or(BAD_KEY)?;
            at = suffix_end;
            let start = into.keys.len();
            if into.items.is_empty() {
                if shared > 0 {
                    return Err("a restart shares bytes with the key before");
                }
            } else if !rises(&into.keys[before.clone()], shared, suffix) || into.items.len() == RESTART_EVERY
            {
                return Err("its keys do not rise as they should");
            }
            into.keys.extend_from_within(before.start..before.start + shared);
            into.keys.extend_from_slice(suffix);
            before = start..into.keys.len();
            let value = match value.checked_sub(1) {
                None => None,
                Some(length) => {
                    let value_end = value_at.checked_add(length).filter(|end| *end <= values_end);
                    let value_end = value_end.ok_or("a value does not fit")?;
                    Some(std::mem::replace(&mut value_at, value_end)..value_end)
                }
            };
            into.items.push(Item { key: before.clone(), value });
        }
        if value_at == values_end { Ok(()) } else { Err("its values do not fit its keys") }
    }

    /// Where the keys and the values of an interval begin, and where they end.
    fn span(&self, interval: usize) -> Result<[(usize, usize); 2], Detail> {
        const BAD: Detail = "its table of restarts is wrong";
        let restart = |i: usize| {
            let at = self.values_end + RESTART * i;
            Some((
                u32_at(&self.page, at)? as usize,
                self.keys_end.checked_add(u32_at(&self.page, at + 4)? as usize)?,
            ))
        };
        if interval >= self.restarts {
            return Err(BAD);
        }
        let start = if interval == 0 { (0, self.keys_end) } else { restart(interval).ok_or(BAD)? };
        let last = interval + 1 == self.restarts;
        let end = if last { (self.keys_end, self.values_end) } else { restart(interval + 1).ok_or(BAD)? };
        let fits = start.0 < end.0 && end.0 <= self.keys_end && start.1 <= end.1 && end.1 <= self.values_end;
        if fits { Ok([start, end]) } else { Err(BAD) }
    }

    fn first_key(&self, interval: usize) -> Result<&[u8], Detail> {
        let [(mut at, _), (end, _)] = self.span(interval)?;
        let bytes = &self.page[..end];
        small(bytes, &mut at)?;
        let length = small(bytes, &mut at)?;
        small(bytes, &mut at)?;
        at.checked_add(length).and_then(|key_end| bytes.get(at..key_end)).ok_or(BAD_KEY)
    }
}

const BAD_KEY: Detail = "a key does not fit";

fn small(bytes: &[u8], at: &mut usize) -> Result<usize, Detail> {
    varint(bytes, at).and_then(|number| usize::try_from(number).ok()).ok_or("a number does not fit")
}

/// Whether a key is greater than the one before, given that it shares as much with it as it can.
fn rises(before: &[u8], shared: usize, suffix: &[u8]) -> bool {
    match (before.get(shared), suffix.first()) {
        (Some(before), Some(now)) => now > before,
        (None, Some(_)) => shared == before.len(),
        (_, None) => false,
    }
}

impl Interval {
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The key of an entry that is there.
    pub fn key(&self, item: usize) -> &[u8] {
        &self.keys[self.items[item].key.clone()]
    }

    /// Where the value of an entry that is there lies in the page; none when the key was deleted.
    pub fn value(&self, item: usize) -> Option<Range<usize>> {
        self.items[item].value.clone()
    }

    /// The place of a key, or where it would be.
    pub fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.items.binary_search_by(|item| self.keys[item.key.clone()].cmp(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    fn build(pairs: &Pairs) -> Bytes {
        let mut builder = BlockBuilder::default();
        for (key, value) in pairs {
            builder.add(key, value.as_deref());
        }
        let length = builder.len();
        let page = builder.finish();
        assert_eq!(page.len(), length);
        page
    }

    fn read(page: &Bytes) -> Result<Pairs, Detail> {
        let block = Block::parse(page.clone())?;
        let mut interval = Interval::default();
        let mut pairs = Vec::new();
        for i in 0..block.intervals() {
            block.read(i, &mut interval)?;
            for item in 0..interval.len() {
                let value = interval.value(item).map(|range| block.page()[range].to_vec());
                pairs.push((interval.key(item).to_vec(), value));
            }
        }
        Ok(pairs)
    }

    fn sample() -> Pairs {
        let mut pairs: Pairs =
            vec![(vec![], Some(vec![])), (vec![0], None), (vec![0, 0], Some(vec![7; 300]))];
        pairs.extend((0..200_u32).map(|i| (format!("key {i:05}").into_bytes(), Some(vec![i as u8; 3]))));
        pairs
    }

    #[test]
    fn entries_come_back_and_are_found() {
        let pairs = sample();
        let page = build(&pairs);
        assert_eq!(read(&page), Ok(pairs.clone()));
        let block = Block::parse(page).unwrap();
        let mut interval = Interval::default();
        for (key, value) in &pairs {
            block.read(block.find(key).unwrap(), &mut interval).unwrap();
            assert!(interval.find(key).is_ok());
            let found = block.get(key).unwrap().map(|range| range.map(|range| block.page()[range].to_vec()));
            assert_eq!(found, Some(value.clone()));
            for other in
                [&[&key[..], &[0]].concat()[..], &[&key[..], &[0xff]].concat(), &key[..key.len() / 2]]
            {
                let there = pairs.iter().any(|(key, _)| key == other);
                assert_eq!(block.get(other).unwrap().is_some(), there, "{other:?}");
            }
        }
    }

    #[test]
    fn every_damaged_byte_is_an_error_or_another_block() {
        let pairs = sample();
        let page = build(&pairs);
        let mut refused = 0;
        for at in 0..page.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = page.to_vec();
                bytes[at] ^= flip;
                refused += usize::from(read(&bytes.into()).is_err());
            }
            assert_ne!(read(&page.slice(..at)), Ok(pairs.clone()));
        }
        assert!(refused > page.len() / 2, "{refused}");
    }

    #[test]
    fn keys_that_do_not_rise_are_refused() {
        let mut builder = BlockBuilder::default();
        builder.add(b"b", Some(b""));
        builder.add(b"a", Some(b""));
        assert!(read(&builder.finish()).is_err());
    }
}
