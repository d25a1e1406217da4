use bytes::Bytes;
use std::sync::Arc;

/// A key with its value, or with the word that it was deleted. Clones share the bytes.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The key, then the value: one allocation.
    data: Arc<[u8]>,
    key_length: u32,
    deleted: bool,
}

/// What an entry costs beside its bytes: itself in a node that is three quarters full, the counters of the
/// allocation, and what the allocator rounds up.
const OVERHEAD: usize = 64;

/// Values from this length on are handed out without copying.
const SHARED: usize = 4096;

impl Entry {
    /// `scratch` is for putting the two together, and may hold anything.
    pub fn new(key: &[u8], value: Option<&[u8]>, scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        scratch.extend_from_slice(key);
        scratch.extend_from_slice(value.unwrap_or_default());
        Entry { data: Arc::from(&scratch[..]), key_length: key.len() as u32, deleted: value.is_none() }
    }

    pub fn key(&self) -> &[u8] {
        &self.data[..self.key_length as usize]
    }

    /// None when the key was deleted.
    pub fn value(&self) -> Option<&[u8]> {
        (!self.deleted).then(|| &self.data[self.key_length as usize..])
    }

    /// The value to keep. None when the key was deleted.
    pub fn to_value(&self) -> Option<Bytes> {
        let value = self.value()?;
        if value.len() < SHARED {
            return Some(Bytes::copy_from_slice(value));
        }
        let start = self.key_length as usize;
        Some(Bytes::from_owner(Shared(self.data.clone())).slice(start..))
    }

    /// Bytes of memory, about.
    pub fn cost(&self) -> usize {
        self.data.len() + OVERHEAD
    }
}

struct Shared(Arc<[u8]>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
