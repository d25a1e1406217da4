//! The page that says which segments there are: page 0.
//!
//! ```text
//! manifest  format: 1 byte, mark: optional, slots: varint, slot*
//! slot      0, run  |  1, fence: optional, inputs: varint, run*, run
//! run       segments: varint, segment*
//! segment   id, blocks, bytes, entries, deletions: varints, first key, last key
//! optional  0  |  1, byte string;  a byte string is a varint and that many bytes
//! ```

use crate::codec::{Parser, put_bytes, put_varint};
use crate::error::Detail;
use crate::pages::SEGMENTS;
use crate::run::Run;
use crate::segment::{Body, Garbage, Segment, Sizes};
use crate::version::{Merging, Slot, Version};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The format that this crate writes.
pub(crate) const FORMAT: u8 = 1;

pub(crate) fn encode(version: &Version) -> Bytes {
    let mut out = vec![FORMAT];
    put_optional(&mut out, version.mark.as_ref());
    put_varint(&mut out, version.slots.len() as u64);
    for slot in &version.slots {
        match slot {
            Slot::Run(run) => {
                out.push(0);
                put_run(&mut out, run);
            }
            Slot::Merging(merging) => {
                out.push(1);
                put_optional(&mut out, merging.fence.as_ref());
                put_varint(&mut out, merging.inputs.len() as u64);
                merging.inputs.iter().for_each(|run| put_run(&mut out, run));
                put_run(&mut out, &merging.output);
            }
        }
    }
    out.into()
}

fn put_run(out: &mut Vec<u8>, run: &Run) {
    put_varint(out, run.segments.len() as u64);
    for Segment { first, last, sizes, body } in &run.segments {
        let numbers = [body.id().into(), sizes.blocks.into(), sizes.bytes, sizes.entries, sizes.deletions];
        numbers.into_iter().for_each(|number| put_varint(out, number));
        put_bytes(out, first);
        put_bytes(out, last);
    }
}

fn put_optional(out: &mut Vec<u8>, bytes: Option<&Bytes>) {
    out.push(bytes.is_some().into());
    bytes.iter().for_each(|bytes| put_bytes(out, bytes));
}

/// The version on a page of this format.
pub(crate) fn decode(page: &Bytes, garbage: &Arc<Garbage>) -> Result<Version, Detail> {
    const SHORT: Detail = "it ends too early or has a wrong number";
    let mut reader = Reader { parser: Parser::new(page), garbage, ids: BTreeSet::new() };
    if reader.parser.byte() != Some(FORMAT) {
        return Err("it has another format");
    }
    let version = reader.version().ok_or(SHORT)?;
    if !reader.parser.at_end() {
        return Err("something follows its end");
    }
    let sound = version.slots.iter().all(|slot| match slot {
        Slot::Run(_) => true,
        Slot::Merging(merging) => !merging.inputs.is_empty(),
    });
    if !sound || !version.runs().all(|run| is_sound(run)) {
        return Err("its segments overlap");
    }
    version.segments().for_each(|segment| segment.body.keep());
    Ok(version)
}

fn is_sound(run: &Run) -> bool {
    run.segments.iter().all(|segment| segment.first <= segment.last)
        && run.segments.windows(2).all(|pair| pair[0].last < pair[1].first)
}

struct Reader<'a> {
    parser: Parser<'a>,
    garbage: &'a Arc<Garbage>,
    ids: BTreeSet<u32>,
}

impl Reader<'_> {
    fn version(&mut self) -> Option<Version> {
        let mark = self.optional()?;
        let slots = self.parser.count()?;
        Some(Version { mark, slots: (0..slots).map(|_| self.slot()).collect::<Option<_>>()? })
    }

    fn slot(&mut self) -> Option<Slot> {
        match self.parser.byte()? {
            0 => Some(Slot::Run(self.run()?)),
            1 => {
                let fence = self.optional()?;
                let inputs = self.parser.count()?;
                let inputs = (0..inputs).map(|_| self.run()).collect::<Option<_>>()?;
                Some(Slot::Merging(Merging { fence, inputs, output: self.run()? }))
            }
            _ => None,
        }
    }

    fn run(&mut self) -> Option<Arc<Run>> {
        let segments = self.parser.count()?;
        let segments = (0..segments).map(|_| self.segment()).collect::<Option<_>>()?;
        Some(Arc::new(Run { segments }))
    }

    fn segment(&mut self) -> Option<Segment> {
        let id = u32::try_from(self.parser.varint()?).ok().filter(|id| (1..SEGMENTS).contains(id))?;
        let blocks =
            u32::try_from(self.parser.varint()?).ok().filter(|blocks| (1..u32::MAX).contains(blocks))?;
        let mut number = || self.parser.varint();
        let sizes = Sizes { blocks, bytes: number()?, entries: number()?, deletions: number()? };
        let (first, last) = (self.parser.bytes()?, self.parser.bytes()?);
        let body = Arc::new(Body::new(id, self.garbage.clone()));
        self.ids.insert(id).then_some(Segment { first, last, sizes, body })
    }

    fn optional(&mut self) -> Option<Option<Bytes>> {
        match self.parser.byte()? {
            0 => Some(None),
            1 => Some(Some(self.parser.bytes()?)),
            _ => None,
        }
    }
}
