use super::crypt::{Crypt, OVERHEAD};
use super::engine::Write;
use bytes::Bytes;
use std::ops::Range;

/// A parcel that has this many bytes takes no more: its memory comes back only when all its records are in tables.
const FULL: usize = 32 << 10;

/// Seals writes to one room and hands key and value of each to `take`; without a value it is removed. They lie end to
/// end in parcels: one piece of memory instead of four for each record.
pub(super) fn seal_all(crypt: &Crypt, writes: &[&Write], take: &mut dyn FnMut(Bytes, Option<Bytes>)) {
    let mut rest = writes;
    while !rest.is_empty() {
        let mut bytes = 0;
        let mut fits = |write: &&Write| {
            let fits = bytes < FULL;
            bytes += size(write);
            fits
        };
        let (parcel, behind) = rest.split_at(rest.iter().take_while(|write| fits(write)).count());
        seal_parcel(crypt, parcel, take);
        rest = behind;
    }
}

fn size(write: &Write) -> usize {
    write.place.as_bytes().len() + write.value.as_ref().map_or(0, |value| OVERHEAD + value.len())
}

fn seal_parcel(crypt: &Crypt, writes: &[&Write], take: &mut dyn FnMut(Bytes, Option<Bytes>)) {
    let mut bytes = Vec::with_capacity(writes.iter().map(|write| size(write)).sum());
    let mut records: Vec<(Range<usize>, Option<Range<usize>>)> = Vec::with_capacity(writes.len());
    for write in writes {
        let (place, key) = (write.place.as_bytes(), bytes.len());
        bytes.extend_from_slice(place);
        let start = bytes.len();
        let sealed = write.value.as_ref().map(|value| {
            crypt.seal_behind(&mut bytes, place, value);
            start..bytes.len()
        });
        records.push((key..start, sealed));
    }
    let bytes = Bytes::from(bytes);
    for (key, sealed) in records {
        take(bytes.slice(key), sealed.map(|it| bytes.slice(it)));
    }
}
