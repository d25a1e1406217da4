use crate::command::data::Desk;
use crate::command::data::ticks::Ticks;
use crate::failure::Failure;
use crate::local::failure::failed;
use crate::told::count;
use bytes::Bytes;
use cloudpal_base::{Batch, Database, Durability, Kind, Snapshot, Sub};
use serde_json::Value;
use std::collections::HashMap;

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
    base: &'a Database,
    /// What the keys show, as of the batch before.
    view: Snapshot,
    batch: Batch,
    /// What the batch makes keys show.
    coming: HashMap<(Sub, Bytes), Bytes>,
    bytes: usize,
    tally: Tally,
    ticks: Ticks<'a>,
}

impl<'a> Importer<'a> {
    pub fn new(desk: Desk<'a>, base: &'a Database) -> Self {
        Importer {
            base,
            view: base.snapshot(),
            batch: Batch::new(),
            coming: HashMap::new(),
            bytes: 0,
            tally: Tally::default(),
            ticks: Ticks::new(desk.app.progress),
        }
    }

    /// Makes `key` show `value`, if it does not.
    pub fn put(&mut self, sub: &Sub, key: Bytes, value: Bytes) -> Result<(), Failure> {
        let place = (sub.clone(), key.clone());
        let shows = match self.coming.get(&place) {
            Some(value) => Some(value.clone()),
            None => self.view.get(sub, &key).map_err(failed)?,
        };
        if shows.as_ref() == Some(&value) {
            self.tally.same += 1;
            return Ok(());
        }
        edit(&mut self.batch, sub, &key, &value);
        self.bytes += key.len() + value.len();
        self.coming.insert(place, value);
        if self.bytes >= BATCH_BYTES || self.coming.len() >= BATCH_KEYS {
            self.flush()?;
        }
        let Tally { written, same, .. } = self.tally;
        self.ticks.tell(|| format!("{} written, {same} showed the same", count(written, "key")));
        Ok(())
    }

    /// Writes what is left, and makes all of it last.
    pub fn end(mut self) -> Result<Tally, Failure> {
        self.flush()?;
        self.base.sync().map_err(failed)?;
        Ok(self.tally)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.base.write(batch, Durability::Relaxed).map_err(failed)?;
        self.tally.written += self.coming.len() as u64;
        self.tally.batches += 1;
        self.coming.clear();
        self.bytes = 0;
        self.view = self.base.snapshot();
        Ok(())
    }
}

fn edit(batch: &mut Batch, sub: &Sub, key: &Bytes, value: &Bytes) {
    let bare = if sub.kind() == Kind::Set { no_text(value) } else { None };
    match bare {
        None => drop(batch.put(sub, key.clone(), value.clone())),
        // A set is put as texts; members that are none are taken in one by one.
        Some((texts, others)) => {
            batch.put(sub, key.clone(), texts);
            for member in others {
                batch.include(sub, key.clone(), member);
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
