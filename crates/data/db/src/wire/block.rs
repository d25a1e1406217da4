use super::seal::{NONCE, TAG};
use super::{EpochId, EpochKey};
use crate::WriterId;
use crate::limits::{MAX_BLOCK, MAX_ENTRY};
use crate::record::SignedRecord;
use bytes::Bytes;
use cloudpal_core::{AgreementKey, PublicKey};
use cloudpal_log::codec::{CodecError, Reader, Write};

/// One block of a writer's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// The first: what this log is.
    Header(Header),
    /// Signed records about members and epochs, readable without a key.
    Records(Vec<SignedRecord>),
    /// A sealed entry, or a part of one.
    Part(Part),
}

/// What a log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// The log that begins a database and gives it its key.
    Founder {
        /// Whose word counts about members.
        owner: PublicKey,
        /// To whom epoch keys are sealed.
        agreement: AgreementKey,
        /// Who signs this writer's own records.
        signer: PublicKey,
    },
    /// The log of another writer of the database with this key.
    Member {
        /// The founder's log.
        database: WriterId,
    },
}

/// One of the sealed parts of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Under which key.
    pub epoch: EpochId,
    /// Which part.
    pub part: u64,
    /// Of how many.
    pub parts: u64,
    nonce: [u8; NONCE],
    text: Bytes,
    tag: [u8; TAG],
}

/// Why a block says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Codec(#[from] CodecError),
    /// It is larger than a block may be.
    #[error("it has {0} bytes, more than {MAX_BLOCK}")]
    Large(usize),
}

const MAGIC: &[u8; 5] = b"cpdb\x01";
const FOUNDER: u8 = 0;
const MEMBER: u8 = 1;
const RECORDS: u8 = 2;
const PART: u8 = 3;
/// Bytes of a block that are not the text of the part, at most.
const FRAME: usize = 128;
/// Parts of an entry, at most.
const MAX_PARTS: u64 = (MAX_ENTRY / (MAX_BLOCK - FRAME) + 1) as u64;

impl Block {
    /// In bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Block::Header(Header::Founder { owner, agreement, signer }) => {
                out.push(FOUNDER);
                out.raw(MAGIC);
                out.raw(owner.as_bytes());
                out.raw(agreement.as_bytes());
                out.raw(signer.as_bytes());
            }
            Block::Header(Header::Member { database }) => {
                out.push(MEMBER);
                out.raw(MAGIC);
                out.raw(&database.0);
            }
            Block::Records(records) => {
                out.push(RECORDS);
                out.uint(records.len() as u64);
                records.iter().for_each(|record| record.encode(&mut out));
            }
            Block::Part(part) => part.encode(&mut out),
        }
        out.into()
    }

    /// From bytes.
    pub fn decode(bytes: &Bytes) -> Result<Self, BlockError> {
        if bytes.len() > MAX_BLOCK {
            return Err(BlockError::Large(bytes.len()));
        }
        let mut reader = Reader::new(bytes);
        let block = match reader.byte()? {
            FOUNDER => {
                magic(&mut reader)?;
                Block::Header(Header::Founder {
                    owner: PublicKey::from_bytes(reader.fixed("the owner's key")?),
                    agreement: AgreementKey::from_bytes(reader.fixed("an agreement key")?),
                    signer: PublicKey::from_bytes(reader.fixed("a signing key")?),
                })
            }
            MEMBER => {
                magic(&mut reader)?;
                Block::Header(Header::Member { database: WriterId(reader.fixed("the database's key")?) })
            }
            RECORDS => Block::Records(reader.array(98, "records", SignedRecord::decode)?),
            PART => Block::Part(Part::decode(&mut reader, bytes)?),
            _ => return Err(CodecError::Value("the kind of a block").into()),
        };
        reader.finish()?;
        Ok(block)
    }
}

fn magic(reader: &mut Reader<'_>) -> Result<(), CodecError> {
    if &reader.fixed::<5>("a header")? == MAGIC { Ok(()) } else { Err(CodecError::Value("a header")) }
}

impl Part {
    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.text.len() + FRAME);
        out.push(PART);
        out.uint32(self.epoch.number);
        out.raw(&self.epoch.check);
        out.uint(self.part);
        out.uint(self.parts);
        out.raw(&self.nonce);
        out.raw(&self.tag);
        out.raw(&self.text);
    }

    fn decode(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Self, CodecError> {
        let epoch = EpochId { number: reader.uint32()?, check: reader.fixed("an epoch")? };
        let (part, parts) = (reader.uint()?, reader.uint()?);
        if part >= parts || parts > MAX_PARTS {
            return Err(CodecError::Value("the number of a part"));
        }
        let nonce = reader.fixed("a nonce")?;
        let tag = reader.fixed("a tag")?;
        Ok(Part { epoch, part, parts, nonce, text: whole.slice_ref(reader.all()), tag })
    }

    /// What was sealed by `writer` at `position` of its log; none if that is not what lies here.
    pub fn open(&self, key: &EpochKey, writer: &WriterId, position: u64) -> Option<Vec<u8>> {
        let mut text = self.text.to_vec();
        key.open(&self.nonce, &about(writer, position, self.part, self.parts), &mut text, &self.tag)
            .then_some(text)
    }
}

/// What a part is sealed for, so that it opens nowhere else.
fn about(writer: &WriterId, position: u64, part: u64, parts: u64) -> Vec<u8> {
    let mut about = Vec::with_capacity(60);
    about.raw(&writer.0);
    about.uint(position);
    about.uint(part);
    about.uint(parts);
    about
}

/// The blocks of an entry `text`, to lie from `position` of the log of `writer` on. `nonces` gives fresh random bytes.
pub fn parts(
    text: &[u8],
    epoch: EpochId,
    key: &EpochKey,
    writer: &WriterId,
    position: u64,
    nonces: &mut dyn FnMut() -> [u8; NONCE],
) -> Vec<Bytes> {
    let pieces: Vec<&[u8]> = text.chunks(MAX_BLOCK - FRAME).collect();
    let parts = pieces.len() as u64;
    let seal = |(part, piece): (u64, &[u8])| {
        let nonce = nonces();
        let mut text = piece.to_vec();
        let tag = key.seal(&nonce, &about(writer, position + part, part, parts), &mut text);
        Block::Part(Part { epoch, part, parts, nonce, text: text.into(), tag }).encode()
    };
    (0..).zip(pieces).map(seal).collect()
}
