//! The two records of a log's [`Table::Head`]: what changes, and what does not.

use crate::codec::{CodecError, Reader, Write};
use crate::{Manifest, Slot, Table};
use bytes::Bytes;

/// Where [`Head`] lies.
pub const HEAD: Slot = Slot::new(Table::Head, 0);
/// Where [`Identity`] lies.
pub const IDENTITY: Slot = Slot::new(Table::Head, 1);

const VERSION: u8 = 1;

/// What changes with every append.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    pub fork: u64,
    pub length: u64,
    pub byte_length: u64,
    /// All blocks below this are held.
    pub contiguous: u64,
    /// How many runs of held blocks lie past those, each with a record in [`Table::Bits`].
    pub runs: u64,
    pub tree_hash: [u8; 32],
    pub signature: Bytes,
}

impl Head {
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(48 + 32 + self.signature.len());
        to.push(VERSION);
        for number in [self.fork, self.length, self.byte_length, self.contiguous, self.runs] {
            to.uint(number);
        }
        to.raw(&self.tree_hash);
        to.buffer(&self.signature);
        to
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let head = Head {
            fork: reader.uint()?,
            length: reader.uint()?,
            byte_length: reader.uint()?,
            contiguous: reader.uint()?,
            runs: reader.uint()?,
            tree_hash: reader.fixed("the tree hash")?,
            signature: Bytes::copy_from_slice(reader.buffer("the signature")?),
        };
        reader.finish()?;
        Ok(head)
    }
}

/// What is said once about a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub key: [u8; 32],
    /// None until a peer tells it.
    pub manifest: Option<Manifest>,
    /// The log has two signed histories: it takes nothing more.
    pub frozen: bool,
}

const HAS_MANIFEST: u64 = 1;
const FROZEN: u64 = 2;

impl Identity {
    pub fn encode(&self) -> Vec<u8> {
        let mut to = vec![VERSION];
        let manifest = if self.manifest.is_some() { HAS_MANIFEST } else { 0 };
        to.uint(manifest | if self.frozen { FROZEN } else { 0 });
        to.raw(&self.key);
        if let Some(manifest) = &self.manifest {
            manifest.write(&mut to);
        }
        to
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let flags = reader.uint()?;
        let key = reader.fixed("the log's key")?;
        let manifest = (flags & HAS_MANIFEST != 0).then(|| Manifest::read(&mut reader)).transpose()?;
        reader.finish()?;
        Ok(Identity { key, manifest, frozen: flags & FROZEN != 0 })
    }
}

fn version(reader: &mut Reader<'_>) -> Result<(), CodecError> {
    if reader.byte()? == VERSION { Ok(()) } else { Err(CodecError::Value("the format's version")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        let head = Head {
            fork: 1,
            length: 1 << 40,
            byte_length: 3,
            contiguous: 300,
            runs: 2,
            tree_hash: [7; 32],
            signature: Bytes::from_static(b"signed"),
        };
        assert_eq!(Head::decode(&head.encode()), Ok(head));
        for manifest in [None, Some(Manifest::single([1; 32]))] {
            let identity = Identity { key: [2; 32], manifest, frozen: true };
            assert_eq!(Identity::decode(&identity.encode()), Ok(identity));
        }
        assert!(Head::decode(&[2]).is_err() && Identity::decode(&[]).is_err());
    }
}
