use crate::table::Entry;

/// Bytes of the longest key.
pub const MAX_KEY: usize = 64 * 1024;

/// Bytes of the longest value.
pub const MAX_VALUE: usize = 1 << 30;

/// Changes that are seen together or not at all. Later ones win over earlier ones.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) entries: Vec<Entry>,
    bytes: usize,
    scratch: Vec<u8>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Batch::default()
    }

    /// Sets the value of a key. Both are copied.
    ///
    /// # Panics
    ///
    /// When they are longer than [`MAX_KEY`] or [`MAX_VALUE`].
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.add(key.as_ref(), Some(value.as_ref()));
    }

    /// Removes a key, whether it is there or not.
    ///
    /// # Panics
    ///
    /// When it is longer than [`MAX_KEY`].
    pub fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.add(key.as_ref(), None);
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory that it takes, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        assert!(key.len() <= MAX_KEY, "a key of {} bytes is too long", key.len());
        let length = value.map_or(0, <[u8]>::len);
        assert!(length <= MAX_VALUE, "a value of {length} bytes is too long");
        let entry = Entry::new(key, value, &mut self.scratch);
        self.bytes += entry.cost();
        self.entries.push(entry);
    }
}
