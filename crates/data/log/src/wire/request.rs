use crate::codec::{CodecError, Reader, Write, uint_len};
use crate::{BlockRequest, HashRequest, ProofRequest, SeekRequest, UpgradeRequest};

/// A request gets no data because the log changed since it was asked: nobody is to blame. npm takes nothing more from
/// a peer that gave it one of the reasons below 32 times.
pub const NO_REASON: u64 = 0;
/// Why a request gets no data: not held here.
pub const NOT_AVAILABLE: u64 = 1;
/// Why a request gets no data: nobody could answer it.
pub const INVALID_REQUEST: u64 = 2;

const BLOCK: u64 = 1;
const HASH: u64 = 2;
const SEEK: u64 = 4;
const UPGRADE: u64 = 8;
const MANIFEST: u64 = 16;
const PRIORITY: u64 = 32;

/// One request for a proof, by a number of the asker's choosing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Comes back with the answer. 0 asks for a proof of conflict.
    pub id: u64,
    /// What is asked.
    pub proof: ProofRequest,
    /// Above 0 it goes before those of 0.
    pub priority: u64,
}

impl Request {
    fn flags(&self) -> u64 {
        let ProofRequest { block, hash, seek, upgrade, manifest, fork: _ } = &self.proof;
        (if block.is_some() { BLOCK } else { 0 })
            | (if hash.is_some() { HASH } else { 0 })
            | (if seek.is_some() { SEEK } else { 0 })
            | (if upgrade.is_some() { UPGRADE } else { 0 })
            | (if *manifest { MANIFEST } else { 0 })
            | (if self.priority > 0 { PRIORITY } else { 0 })
    }

    /// The numbers after the flags, in their order on the wire.
    fn numbers(&self, each: &mut dyn FnMut(u64)) {
        let ProofRequest { fork, block, hash, seek, upgrade, manifest: _ } = &self.proof;
        each(self.id);
        each(*fork);
        let pairs = [
            block.map(|it| (it.index, it.nodes)),
            hash.map(|it| (it.index, it.nodes)),
            seek.map(|it| (it.bytes, it.padding)),
            upgrade.map(|it| (it.start, it.length)),
        ];
        for (first, second) in pairs.into_iter().flatten() {
            each(first);
            each(second);
        }
        if self.priority > 0 {
            each(self.priority);
        }
    }

    pub(super) fn encoded_len(&self) -> usize {
        let mut len = uint_len(self.flags());
        self.numbers(&mut |number| len += uint_len(number));
        len
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.uint(self.flags());
        self.numbers(&mut |number| out.uint(number));
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let flags = reader.uint()?;
        let (id, fork) = (reader.uint()?, reader.uint()?);
        let mut pair = |flag: u64| -> Result<Option<(u64, u64)>, CodecError> {
            if flags & flag == 0 {
                return Ok(None);
            }
            Ok(Some((reader.uint()?, reader.uint()?)))
        };
        let proof = ProofRequest {
            fork,
            block: pair(BLOCK)?.map(|(index, nodes)| BlockRequest { index, nodes }),
            hash: pair(HASH)?.map(|(index, nodes)| HashRequest { index, nodes }),
            seek: pair(SEEK)?.map(|(bytes, padding)| SeekRequest { bytes, padding }),
            upgrade: pair(UPGRADE)?.map(|(start, length)| UpgradeRequest { start, length }),
            manifest: flags & MANIFEST != 0,
        };
        let priority = if flags & PRIORITY == 0 { 0 } else { reader.uint()? };
        Ok(Request { id, proof, priority })
    }
}
