use super::data::Data;
use super::request::Request;
use crate::codec::{CodecError, Reader, Write, uint_len};
use bytes::Bytes;

/// One message of a `hypercore/alpha` channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// What the sender has and does.
    Sync(Sync),
    /// Asks for a proof.
    Request(Request),
    /// Takes a request back.
    Cancel {
        /// Which.
        request: u64,
    },
    /// A proof.
    Data(Box<Data>),
    /// There will be no proof.
    NoData {
        /// For which request.
        request: u64,
        /// [`NOT_AVAILABLE`](super::NOT_AVAILABLE), [`INVALID_REQUEST`](super::INVALID_REQUEST) or
        /// [`NO_REASON`](super::NO_REASON).
        reason: u64,
    },
    /// Asks which blocks of a span the other side has, now and from then on.
    Want(Span),
    /// Takes a want back.
    Unwant(Span),
    /// Which blocks the sender has from `start` on: one bit a block, lowest first, whole words of 32.
    Bitfield {
        /// Block of the first bit.
        start: u64,
        /// The words, little-endian.
        bits: Bytes,
    },
    /// The sender has all blocks of a span, or none of them.
    Range {
        /// None of them.
        drop: bool,
        /// First block.
        start: u64,
        /// How many.
        length: u64,
    },
    /// Something for an extension; an empty name means the one before.
    Extension {
        /// Whose.
        name: String,
        /// What.
        message: Bytes,
    },
}

/// What a peer has and does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sync {
    /// Its fork.
    pub fork: u64,
    /// Its length.
    pub length: u64,
    /// The length it last heard of the other side, 0 when that was of another fork.
    pub remote_length: u64,
    /// Holds the nodes to bring the other side from `remote_length` to `length`.
    pub can_upgrade: bool,
    /// Answers requests.
    pub uploading: bool,
    /// Wants blocks.
    pub downloading: bool,
    /// Can send the manifest.
    pub has_manifest: bool,
    /// Takes blocks it did not ask for.
    pub allow_push: bool,
}

/// Some blocks in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First block.
    pub start: u64,
    /// How many.
    pub length: u64,
    /// One of them is enough (not sent by any released hypercore).
    pub any: bool,
}

impl Span {
    fn encoded_len(&self) -> usize {
        uint_len(self.start) + uint_len(self.length) + usize::from(self.any)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.uint(self.start);
        out.uint(self.length);
        if self.any {
            out.uint(1);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (start, length) = (reader.uint()?, reader.uint()?);
        let any = !reader.is_empty() && reader.uint()? & 1 != 0;
        Ok(Span { start, length, any })
    }
}

impl Sync {
    fn encode(&self, out: &mut Vec<u8>) {
        let flags = [self.can_upgrade, self.uploading, self.downloading, self.has_manifest, self.allow_push];
        out.uint(flags.iter().enumerate().map(|(bit, set)| u64::from(*set) << bit).sum());
        out.uint(self.fork);
        out.uint(self.length);
        out.uint(self.remote_length);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let flags = reader.uint()?;
        Ok(Sync {
            fork: reader.uint()?,
            length: reader.uint()?,
            remote_length: reader.uint()?,
            can_upgrade: flags & 1 != 0,
            uploading: flags & 2 != 0,
            downloading: flags & 4 != 0,
            has_manifest: flags & 8 != 0,
            allow_push: flags & 16 != 0,
        })
    }
}

impl Message {
    /// Its number on the channel.
    pub const fn kind(&self) -> u64 {
        match self {
            Message::Sync(_) => 0,
            Message::Request(_) => 1,
            Message::Cancel { .. } => 2,
            Message::Data(_) => 3,
            Message::NoData { .. } => 4,
            Message::Want(_) => 5,
            Message::Unwant(_) => 6,
            Message::Bitfield { .. } => 7,
            Message::Range { .. } => 8,
            Message::Extension { .. } => 9,
        }
    }

    /// How many bytes [`encode`](Self::encode) writes.
    pub fn encoded_len(&self) -> usize {
        match self {
            Message::Sync(sync) => {
                1 + uint_len(sync.fork) + uint_len(sync.length) + uint_len(sync.remote_length)
            }
            Message::Request(request) => request.encoded_len(),
            Message::Cancel { request } => uint_len(*request),
            Message::Data(data) => data.encoded_len(),
            Message::NoData { request, reason } => {
                uint_len(*request) + 1 + if *reason > 0 { uint_len(*reason) } else { 0 }
            }
            Message::Want(span) | Message::Unwant(span) => span.encoded_len(),
            Message::Bitfield { start, bits } => {
                uint_len(*start) + uint_len(bits.len() as u64 / 4) + bits.len() / 4 * 4
            }
            Message::Range { start, length, .. } => {
                1 + uint_len(*start) + if *length == 1 { 0 } else { uint_len(*length) }
            }
            Message::Extension { name, message } => uint_len(name.len() as u64) + name.len() + message.len(),
        }
    }

    /// Writes it, without its kind, to the end of `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Message::Sync(sync) => sync.encode(out),
            Message::Request(request) => request.encode(out),
            Message::Cancel { request } => out.uint(*request),
            Message::Data(data) => data.encode(out),
            Message::NoData { request, reason } => {
                out.uint(*request);
                out.uint(u64::from(*reason > 0));
                if *reason > 0 {
                    out.uint(*reason);
                }
            }
            Message::Want(span) | Message::Unwant(span) => span.encode(out),
            Message::Bitfield { start, bits } => {
                out.uint(*start);
                out.uint(bits.len() as u64 / 4);
                out.raw(&bits[..bits.len() / 4 * 4]);
            }
            Message::Range { drop, start, length } => {
                out.uint(u64::from(*drop) | if *length == 1 { 2 } else { 0 });
                out.uint(*start);
                if *length != 1 {
                    out.uint(*length);
                }
            }
            Message::Extension { name, message } => {
                out.string(name);
                out.raw(message);
            }
        }
    }

    /// Reads a message of `kind`; none for kinds of later versions, which are passed over as JS does. Bytes after
    /// the message are for later versions too.
    pub fn decode(kind: u64, payload: &Bytes) -> Result<Option<Self>, CodecError> {
        let reader = &mut Reader::new(payload);
        let message = match kind {
            0 => Message::Sync(Sync::decode(reader)?),
            1 => Message::Request(Request::decode(reader)?),
            2 => Message::Cancel { request: reader.uint()? },
            3 => Message::Data(Box::new(Data::decode(reader, payload)?)),
            4 => {
                let request = reader.uint()?;
                // JS 10 ends here.
                let flags = if reader.is_empty() { 0 } else { reader.uint()? };
                Message::NoData { request, reason: if flags & 1 == 0 { 0 } else { reader.uint()? } }
            }
            5 => Message::Want(Span::decode(reader)?),
            6 => Message::Unwant(Span::decode(reader)?),
            7 => {
                let start = reader.uint()?;
                let words = reader.count(4, "the bits")?;
                Message::Bitfield { start, bits: payload.slice_ref(reader.raw(words * 4, "the bits")?) }
            }
            8 => {
                let flags = reader.uint()?;
                let start = reader.uint()?;
                let length = if flags & 2 == 0 { reader.uint()? } else { 1 };
                Message::Range { drop: flags & 1 != 0, start, length }
            }
            9 => {
                let name = reader.string("an extension's name")?.to_owned();
                Message::Extension { name, message: payload.slice_ref(reader.all()) }
            }
            _ => return Ok(None),
        };
        Ok(Some(message))
    }
}
