use crate::codec::{CodecError, Reader, Write};

/// What both sides say when a `hypercore/alpha` channel opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// Answers requests for a byte offset.
    pub seeks: bool,
    /// Shows that the sender knows the log's key (see [`capability`](super::capability)).
    pub capability: [u8; 32],
}

impl Handshake {
    /// Writes it to the end of `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.uint(u64::from(self.seeks));
        out.raw(&self.capability);
    }

    /// Reads it; bytes after it are for later versions.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let flags = reader.uint()?;
        Ok(Handshake { seeks: flags & 1 != 0, capability: reader.fixed("the capability")? })
    }
}
