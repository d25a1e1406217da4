//! What the map holds for a file: JSON, written byte for byte as npm hyperdrive 13 writes it.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;

/// JS numbers are exact up to here; nothing larger was ever written by hyperdrive.
const MAX_SAFE: u64 = (1 << 53) - 1;

/// A file or symbolic link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// May be run as a program.
    pub executable: bool,
    /// Where a symbolic link leads, as it was given.
    pub linkname: Option<String>,
    /// Where the content lies in the blob log. A link has none.
    pub blob: Option<BlobId>,
    /// Whatever else its writer wanted to say.
    pub metadata: Option<Metadata>,
}

/// Where content lies in the blob log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlobId {
    /// First block.
    pub block_offset: u64,
    /// Bytes in the log before the first block.
    pub byte_offset: u64,
    /// Blocks.
    pub block_length: u64,
    /// Bytes in those blocks.
    pub byte_length: u64,
    /// Whether those blocks are a list of other blocks that hold the content (hyperblobs' `blockMap`).
    pub mapped: bool,
}

/// A JSON value, kept as its text: numbers and the order of fields stay as JS wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata(String);

/// Why the bytes of an entry cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Not JSON, or not these fields.
    #[error("an entry of the drive is not what hyperdrive writes; its writer is faulty or hostile")]
    Json(#[source] serde_json::Error),
    /// Numbers that no log can reach.
    #[error("an entry of the drive points outside of any log; its writer is faulty or hostile")]
    Range,
}

impl Entry {
    /// The text that JS's `JSON.stringify` makes of the same entry.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = String::with_capacity(160);
        out.push_str(if self.executable { r#"{"executable":true"# } else { r#"{"executable":false"# });
        out.push_str(r#","linkname":"#);
        match &self.linkname {
            // Escapes are the same in JS: short forms, \u00xx in small letters, all else as it is.
            Some(name) => out.push_str(&serde_json::Value::from(name.as_str()).to_string()),
            None => out.push_str("null"),
        }
        out.push_str(r#","blob":"#);
        match &self.blob {
            Some(blob) => blob.encode(&mut out),
            None => out.push_str("null"),
        }
        out.push_str(r#","metadata":"#);
        out.push_str(self.metadata.as_ref().map_or("null", |m| &m.0));
        out.push('}');
        out.into_bytes()
    }

    /// Reads what [`encode`](Self::encode) or JS wrote. Unknown fields are passed over, missing ones are null.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let wire: Wire<'_> = serde_json::from_slice(bytes).map_err(EntryError::Json)?;
        let blob = wire.blob.map(BlobId::try_from).transpose()?;
        // JS takes an empty name for no link.
        let linkname = wire.linkname.filter(|name| !name.is_empty());
        let metadata = wire.metadata.map(|text| Metadata(text.get().into()));
        Ok(Self { executable: wire.executable.unwrap_or(false), linkname, blob, metadata })
    }

    /// Bytes of content, as far as the entry tells: none of a link, and unknown (none) of mapped content.
    pub fn byte_length(&self) -> Option<u64> {
        self.blob.filter(|blob| !blob.mapped).map(|blob| blob.byte_length)
    }
}

impl BlobId {
    /// Nothing, at the start of the log.
    pub const EMPTY: Self =
        Self { block_offset: 0, byte_offset: 0, block_length: 0, byte_length: 0, mapped: false };

    /// Its blocks in the log.
    pub fn blocks(&self) -> Range<u64> {
        self.block_offset..self.block_offset.saturating_add(self.block_length)
    }

    fn encode(&self, out: &mut String) {
        let Self { block_offset, byte_offset, block_length, byte_length, mapped } = self;
        let map = if *mapped { r#","blockMap":true"# } else { "" };
        out.push_str(&format!(
            r#"{{"blockOffset":{block_offset},"byteOffset":{byte_offset},"blockLength":{block_length},"byteLength":{byte_length}{map}}}"#
        ));
    }
}

impl Metadata {
    /// Any value that serde can write.
    pub fn new<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(Self)
    }

    /// JSON text; white space between its parts is dropped, as JS would.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let value: &RawValue = serde_json::from_str(text)?;
        Ok(Self(compact(value.get())))
    }

    /// Its JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

/// Drops white space outside of strings from text that is known to be JSON.
fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    json.chars()
        .filter(|&c| {
            let keep = quoted || !matches!(c, ' ' | '\t' | '\n' | '\r');
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = quoted,
                '"' => quoted = !quoted,
                _ => {}
            }
            keep
        })
        .collect()
}

#[derive(Deserialize)]
struct Wire<'a> {
    executable: Option<bool>,
    linkname: Option<String>,
    blob: Option<WireBlob>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBlob {
    block_offset: u64,
    byte_offset: u64,
    block_length: u64,
    byte_length: u64,
    block_map: Option<bool>,
}

impl TryFrom<WireBlob> for BlobId {
    type Error = EntryError;

    fn try_from(wire: WireBlob) -> Result<Self, EntryError> {
        let fits = |offset: u64, length: u64| offset.checked_add(length).is_some_and(|end| end <= MAX_SAFE);
        if !fits(wire.block_offset, wire.block_length) || !fits(wire.byte_offset, wire.byte_length) {
            return Err(EntryError::Range);
        }
        Ok(Self {
            block_offset: wire.block_offset,
            byte_offset: wire.byte_offset,
            block_length: wire.block_length,
            byte_length: wire.byte_length,
            mapped: wire.block_map.unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_entries_are_refused_not_believed() {
        let blob = |fields: &str| format!(r#"{{"blob":{{{fields}}}}}"#);
        for bytes in [
            "".to_string(),
            "null".into(),
            "[]".into(),
            r#"{"executable":1}"#.into(),
            blob(r#""blockOffset":-1,"byteOffset":0,"blockLength":1,"byteLength":1"#),
            blob(r#""blockOffset":1e300,"byteOffset":0,"blockLength":1,"byteLength":1"#),
            blob(r#""blockOffset":9007199254740991,"byteOffset":0,"blockLength":1,"byteLength":1"#),
            blob(r#""blockOffset":18446744073709551615,"byteOffset":0,"blockLength":1,"byteLength":1"#),
            blob(r#""blockOffset":0"#),
            "[".repeat(100_000),
            format!(r#"{{"metadata":{}"#, "[".repeat(100_000)),
        ] {
            assert!(Entry::decode(bytes.as_bytes()).is_err(), "{}", &bytes[..bytes.len().min(80)]);
        }
    }

    #[test]
    fn metadata_keeps_its_text() {
        let text = Metadata::from_json("{ \"b\" : [1.50, \"a \\\" b\"],\n\"1\": 1e21 }").unwrap();
        assert_eq!(text.as_json(), r#"{"b":[1.50,"a \" b"],"1":1e21}"#);
        let entry = Entry { metadata: Some(text), ..Entry::default() };
        assert_eq!(Entry::decode(&entry.encode()).unwrap(), entry);
        assert!(Metadata::from_json("{").is_err());
    }
}
