use crate::command::data::Desk;
use crate::command::data::ticks::Ticks;
use crate::command::db::args::Lasting;
use crate::command::db::room::Room;
use crate::failure::Failure;
use crate::told::count;
use bytes::Bytes;
use cloudpal_base::{Kind, Sub};
use cloudpal_serve::wire::Step;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One batch holds at most so many bytes and keys.
const BATCH_BYTES: usize = 4 << 20;
const BATCH_KEYS: usize = 4_096;

/// What an import came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub written: u64,
    pub same: u64,
    pub batches: u64,
}

/// Writes keys in batches.
pub struct Importer<'a> {
    room: &'a Room,
    /// What is to be written next, each key once.
    coming: Vec<Coming>,
    keys: BTreeSet<(Sub, Bytes)>,
    bytes: usize,
    tally: Tally,
    ticks: Ticks<'a>,
}

/// A key, and what it is to show.
struct Coming {
    sub: Sub,
    key: Bytes,
    value: Bytes,
}

impl Coming {
    fn steps(self) -> Vec<Step> {
        let Coming { sub, key, value } = self;
        let bare = if sub.kind() == Kind::Set { no_text(&value) } else { None };
        match bare {
            None => vec![Step::Put(sub, key, value)],
            // A set is put as texts; members that are none are taken in one by one.
            Some((texts, others)) => {
                let include = |member: Vec<u8>| Step::Include(sub.clone(), key.clone(), member.into());
                let put = Step::Put(sub.clone(), key.clone(), texts);
                std::iter::once(put).chain(others.into_iter().map(include)).collect()
            }
        }
    }
}

/// The texts of a set, and its members that are no text, which stand as `{"hex": ...}`; none if all are texts.
fn no_text(value: &[u8]) -> Option<(Bytes, Vec<Vec<u8>>)> {
    let members: Vec<Value> = serde_json::from_slice(value).ok()?;
    let (texts, others): (Vec<Value>, Vec<Value>) = members.into_iter().partition(Value::is_string);
    let bytes = |member: &Value| hex::decode(member.get("hex")?.as_str()?).ok();
    let others: Vec<Vec<u8>> = others.iter().map(bytes).collect::<Option<_>>()?;
    (!others.is_empty()).then(|| (Value::from(texts).to_string().into(), others))
}

impl<'a> Importer<'a> {
    pub fn new(desk: Desk<'a>, room: &'a Room) -> Self {
        let (coming, keys, bytes, tally) = Default::default();
        Importer { room, coming, keys, bytes, tally, ticks: Ticks::new(desk.app.progress) }
    }

    /// Makes `key` show `value`, if it does not.
    pub fn put(&mut self, sub: &Sub, key: Bytes, value: Bytes) -> Result<(), Failure> {
        if !self.keys.insert((sub.clone(), key.clone())) {
            self.flush()?;
            self.keys.insert((sub.clone(), key.clone()));
        }
        self.bytes += key.len() + value.len();
        self.coming.push(Coming { sub: sub.clone(), key, value });
        if self.bytes >= BATCH_BYTES || self.coming.len() >= BATCH_KEYS {
            self.flush()?;
        }
        let Tally { written, same, .. } = self.tally;
        self.ticks.tell(|| format!("{} written, {same} showed the same", count(written, "key")));
        Ok(())
    }

    /// Writes what is left. All of it lasts when this returns.
    pub fn end(mut self) -> Result<Tally, Failure> {
        self.flush()?;
        Ok(self.tally)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let coming = std::mem::take(&mut self.coming);
        self.keys.clear();
        self.bytes = 0;
        let different = self.different(coming)?;
        if !different.is_empty() {
            self.tally.written += different.len() as u64;
            self.tally.batches += 1;
            let steps: Vec<_> = different.into_iter().flat_map(Coming::steps).collect();
            self.room.write(&steps, Lasting { durable: true })?;
        }
        Ok(())
    }

    /// Without what shows the same already.
    fn different(&mut self, coming: Vec<Coming>) -> Result<Vec<Coming>, Failure> {
        let mut places: BTreeMap<&Sub, Vec<usize>> = BTreeMap::new();
        for (at, one) in coming.iter().enumerate() {
            places.entry(&one.sub).or_default().push(at);
        }
        let mut same = BTreeSet::new();
        for (sub, places) in places {
            let keys: Vec<_> = places.iter().map(|at| coming[*at].key.clone()).collect();
            let shown = self.room.values(sub, &keys)?;
            let equal =
                places.iter().zip(shown).filter(|(at, shown)| shown.as_ref() == Some(&coming[**at].value));
            same.extend(equal.map(|(at, _)| *at));
        }
        self.tally.same += same.len() as u64;
        let is_new = |(at, one): (usize, Coming)| (!same.contains(&at)).then_some(one);
        Ok(coming.into_iter().enumerate().filter_map(is_new).collect())
    }
}
