//! Small values kept beside a log on this device. A record holds all values whose names share 64 bits of hash.

use super::Log;
use crate::codec::{CodecError, Reader, Write};
use crate::{Batch, Durability, Slot, Storage, StorageError, Table, hash};
use bytes::Bytes;
use std::ops::ControlFlow;

impl<S: Storage> Log<S> {
    /// The value kept under `name`.
    pub fn user_data(&self, name: &str) -> Result<Option<Bytes>, StorageError> {
        let record = self.user_record(slot(name))?;
        Ok(record.into_iter().find(|(other, _)| other == name).map(|(_, value)| value))
    }

    /// Keeps, replaces or (with none) removes the value under `name`.
    pub fn set_user_data(
        &mut self,
        name: &str,
        value: Option<Bytes>,
        durability: Durability,
    ) -> Result<(), StorageError> {
        let slot = slot(name);
        let mut record = self.user_record(slot)?;
        record.retain(|(other, _)| other != name);
        record.extend(value.map(|value| (name.to_owned(), value)));
        let mut batch = Batch::new();
        if record.is_empty() {
            batch.delete(slot);
        } else {
            batch.put(slot, encode(&record));
        }
        self.storage.commit(batch, durability)
    }

    /// All names with their values, in no particular order.
    pub fn all_user_data(&self) -> Result<Vec<(String, Bytes)>, StorageError> {
        let mut all = Vec::new();
        let mut damaged = None;
        self.storage.range(Table::User, 0..u64::MAX, &mut |key, record| match decode(&record) {
            Ok(record) => {
                all.extend(record);
                ControlFlow::Continue(())
            }
            Err(_) => {
                damaged = Some(key);
                ControlFlow::Break(())
            }
        })?;
        damaged.map_or(Ok(all), |key| Err(damage(Slot::new(Table::User, key))))
    }

    fn user_record(&self, slot: Slot) -> Result<Vec<(String, Bytes)>, StorageError> {
        let Some(record) = self.storage.get(slot)? else { return Ok(Vec::new()) };
        decode(&record).map_err(|_| damage(slot))
    }
}

const fn damage(slot: Slot) -> StorageError {
    StorageError::Damaged { slot, detail: "not a record of user data" }
}

fn slot(name: &str) -> Slot {
    let [a, b, c, d, e, f, g, h, ..] = hash::blake2b(&[name.as_bytes()]);
    // The last key is left out, so that a range can cover all.
    Slot::new(Table::User, u64::from_le_bytes([a, b, c, d, e, f, g, h]).min(u64::MAX - 1))
}

fn encode(record: &[(String, Bytes)]) -> Vec<u8> {
    let mut to = Vec::new();
    to.uint(record.len() as u64);
    for (name, value) in record {
        to.string(name);
        to.buffer(value);
    }
    to
}

fn decode(record: &Bytes) -> Result<Vec<(String, Bytes)>, CodecError> {
    let mut reader = Reader::new(record);
    let values = reader.array(2, "user data", |reader| {
        let name = reader.string("a name")?.to_owned();
        Ok((name, record.slice_ref(reader.buffer("a value")?)))
    })?;
    reader.finish()?;
    Ok(values)
}
