use bytes::Bytes;
use serde::de::DeserializeOwned;

/// A key with its value, and the block that put it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Index of the block.
    pub seq: u64,
    /// The key, without the prefix of the sub-database that was asked.
    pub key: Bytes,
    /// The value; none for a key that was put without one, as JS does with `null`.
    pub value: Option<Bytes>,
}

impl Entry {
    /// The key as text; none if it is not UTF-8.
    pub fn key_str(&self) -> Option<&str> {
        str::from_utf8(&self.key).ok()
    }

    /// The value as text; none if there is none or it is not UTF-8.
    pub fn value_str(&self) -> Option<&str> {
        str::from_utf8(self.value.as_ref()?).ok()
    }

    /// The value as JSON. No value reads as `null`.
    pub fn value_json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(self.value.as_deref().unwrap_or(b"null"))
    }
}

/// What the JSON encoding of JS puts for `value`.
pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> serde_json::Result<Bytes> {
    serde_json::to_vec(value).map(Bytes::from)
}
