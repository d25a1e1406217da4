//! What a row of the view holds: the writes to it that no later write had seen. Mostly that is one.

use crate::{ClientId, Dot, Heads, Stamp};
use bytes::Bytes;
use cloudpal_log::codec::{CodecError, Reader, Write};

/// One write that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Where it was written.
    pub dot: Dot,
    /// When, by its writer's account.
    pub stamp: Stamp,
    /// What.
    pub value: Bytes,
}

impl Version {
    /// What decides between versions: the later stamp, then the writer.
    const fn rank(&self) -> (Stamp, ClientId, u64) {
        (self.stamp, self.dot.client, self.dot.position)
    }

    /// In bytes, behind `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.dot.client.write(out);
        out.uint(self.dot.position);
        self.stamp.write(out);
        out.raw(&self.value);
    }

    fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let client = ClientId::read(&mut reader)?;
        let position = reader.uint()?;
        let stamp = Stamp::read(&mut reader)?;
        Ok(Version { dot: Dot { client, position }, stamp, value: bytes.slice_ref(reader.all()) })
    }
}

/// The versions of a row, the winner first. Never empty: a row without versions is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell(Vec<Version>);

const ONE: u8 = 1;
const MANY: u8 = 2;

impl Cell {
    /// The version that is shown.
    pub fn winner(&self) -> Option<&Version> {
        self.0.first()
    }

    /// The versions that lost and say something else.
    pub fn losers(&self) -> impl Iterator<Item = &Version> {
        let shown = self.winner().map(|version| version.value.clone()).unwrap_or_default();
        self.0.iter().skip(1).filter(move |version| version.value != shown)
    }

    /// Whether versions say different things.
    pub fn is_conflict(&self) -> bool {
        self.losers().next().is_some()
    }

    /// Forgets what `seen` contains.
    pub(crate) fn forget(&mut self, seen: &Heads) {
        self.0.retain(|version| !seen.contains(version.dot));
    }

    /// Adds a version in its place.
    pub(crate) fn add(&mut self, version: Version) {
        let place = self.0.partition_point(|other| other.rank() > version.rank());
        self.0.insert(place, version);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All versions, the winner first.
    pub fn versions(&self) -> &[Version] {
        &self.0
    }

    /// The value that is shown, of a cell in bytes.
    pub(crate) fn shown(bytes: &Bytes) -> Result<Option<Bytes>, CodecError> {
        match bytes.first() {
            Some(&ONE) => Version::decode(&bytes.slice(1..)).map(|version| Some(version.value)),
            _ => Ok(Cell::decode(bytes)?.winner().map(|version| version.value.clone())),
        }
    }

    /// In bytes.
    pub(crate) fn encode(&self) -> Bytes {
        match self.0.as_slice() {
            [version] => one(version),
            versions => {
                let mut out = vec![MANY];
                out.uint(versions.len() as u64);
                for version in versions {
                    let mut bytes = Vec::new();
                    version.encode(&mut bytes);
                    out.buffer(&bytes);
                }
                out.into()
            }
        }
    }

    /// From bytes of which the values are slices.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        match reader.byte()? {
            ONE => Ok(Cell(vec![Version::decode(&bytes.slice(1..))?])),
            MANY => {
                let each =
                    |reader: &mut Reader<'_>| Version::decode(&bytes.slice_ref(reader.buffer("a version")?));
                let versions = reader.array(10, "versions", each)?;
                reader.finish()?;
                Ok(Cell(versions))
            }
            _ => Err(CodecError::Value("a row of the view")),
        }
    }
}

/// A row with a single version, in bytes.
pub(crate) fn one(version: &Version) -> Bytes {
    let mut out = Vec::with_capacity(version.value.len() + 32);
    out.push(ONE);
    version.encode(&mut out);
    out.into()
}
