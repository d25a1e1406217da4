//! What the store itself keeps about each log.

use crate::disk::{self, Engine, LogId, Place};
use crate::{Access, Namespace};
use bytes::Bytes;
use cloudpal_log::codec::{CodecError, Reader, Write};
use cloudpal_log::{Durability, StorageError};

const VERSION: u8 = 1;

/// The store's record of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub key: [u8; 32],
    /// By which name the store derives its signing key.
    pub name: Option<(Namespace, String)>,
    /// Who may have it from here.
    pub access: Access,
    /// Bytes of block bodies held, as of the last time this was written.
    pub held: u64,
}

/// Keeps `record` for the log `id`.
pub(crate) fn put_record(engine: &Engine, id: LogId, record: &Record) -> Result<(), StorageError> {
    let write = disk::Write { place: Place::registry(id), value: Some(record.encode()) };
    engine.commit(vec![write], None, Durability::Relaxed)
}

impl Record {
    pub(crate) fn encode(&self) -> Bytes {
        let mut to = vec![VERSION];
        to.raw(&self.key);
        to.uint(self.held);
        to.uint(u64::from(self.name.is_some()));
        if let Some((namespace, name)) = &self.name {
            to.raw(namespace.as_bytes());
            to.string(name);
        }
        match &self.access {
            Access::Anyone => to.uint(0),
            Access::Only(keys) => {
                to.uint(1);
                to.uint(keys.len() as u64);
                keys.iter().for_each(|key| to.raw(key));
            }
        }
        to.into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(CodecError::Value("the format's version"));
        }
        let key = reader.fixed("the log's key")?;
        let held = reader.uint()?;
        let name = match reader.uint()? {
            0 => None,
            _ => {
                let namespace = Namespace::from_bytes(reader.fixed("the namespace")?);
                Some((namespace, reader.string("the name")?.to_owned()))
            }
        };
        let access = match reader.uint()? {
            0 => Access::Anyone,
            _ => Access::only(reader.array(32, "the list of peers", |reader| reader.fixed("a peer's key"))?),
        };
        reader.finish()?;
        Ok(Record { key, name, access, held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back() {
        for name in [None, Some((Namespace::ROOT.child(b"app"), "mail ö".to_owned()))] {
            let access = name.as_ref().map_or(Access::Anyone, |_| Access::only([[1; 32], [2; 32]]));
            let record = Record { key: [3; 32], name, access, held: 1 << 40 };
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Ok(record));
            for cut in 0..bytes.len() {
                assert!(Record::decode(&bytes[..cut]).is_err());
            }
        }
    }
}
