use cloudpal_log::codec::{CodecError, Reader, Write};
use std::fmt;

/// A writer: the key of its log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(pub [u8; 32]);

impl WriterId {
    /// The short form that entries name it by.
    pub fn client(&self) -> ClientId {
        let hash = blake2b_simd::Params::new().hash_length(32).key(b"cloudpal client id").hash(&self.0);
        let mut id = [0; 8];
        id[2..].copy_from_slice(&hash.as_bytes()[..ClientId::LEN]);
        ClientId(u64::from_be_bytes(id))
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriterId({self})")
    }
}

/// A writer in 48 bits: the first of a keyed hash of its log's key. Whoever signs an admission checks that no other
/// writer has the same; it is also the writer's client id in shared text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub(crate) u64);

impl ClientId {
    /// Bytes it takes.
    pub const LEN: usize = 6;

    /// As a number below 2^48.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// From a number; none if it has more than 48 bits.
    pub const fn new(number: u64) -> Option<Self> {
        if number < 1 << 48 { Some(ClientId(number)) } else { None }
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.raw(&self.0.to_be_bytes()[2..]);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let mut id = [0; 8];
        id[2..].copy_from_slice(&reader.fixed::<{ Self::LEN }>("a writer")?);
        Ok(ClientId(u64::from_be_bytes(id)))
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

/// Where something was written: the writer, and the position in its log of the first block of the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Who.
    pub client: ClientId,
    /// The index of the block.
    pub position: u64,
}
