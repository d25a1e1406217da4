use crate::reader::Reader;
use crate::{Entry, ReadError};

/// What an operation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It put the entry's key.
    Put,
    /// It deleted the entry's key.
    Delete,
}

/// One operation of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What it did. A key put without a value within a batch reads as deleted: JS reads it so too.
    pub action: Action,
    /// To which key, in which block, with which value.
    pub entry: Entry,
}

/// Which operations, in which order. Positions are indexes of blocks; the first operation is in block 1.
///
/// ```
/// use cloudpal_bee::History;
/// let the_last_ten = History::all().reverse().limit(10);
/// let between = History::all().from(100).until(200);
/// # let _ = (the_last_ten, between);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    from: u64,
    until: u64,
    reverse: bool,
    limit: u64,
}

impl Default for History {
    fn default() -> Self {
        History { from: 1, until: u64::MAX, reverse: false, limit: u64::MAX }
    }
}

impl History {
    /// Everything, oldest first.
    pub fn all() -> Self {
        History::default()
    }

    /// Begins at block `seq`.
    pub fn from(mut self, seq: u64) -> Self {
        self.from = seq.max(1);
        self
    }

    /// Ends before block `seq`.
    pub fn until(mut self, seq: u64) -> Self {
        self.until = seq;
        self
    }

    /// Newest first.
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// At most `operations` of them.
    pub fn limit(mut self, operations: u64) -> Self {
        self.limit = operations;
        self
    }
}

/// Operations, one by one.
pub(crate) struct Operations {
    reader: Reader,
    prefix: Vec<u8>,
    wanted: History,
}

impl Operations {
    pub fn new(reader: Reader, prefix: Vec<u8>, mut wanted: History) -> Self {
        wanted.until = wanted.until.min(reader.version());
        Operations { reader, prefix, wanted }
    }

    fn read(&self, seq: u64) -> Result<Option<Operation>, ReadError> {
        let block = self.reader.block_once(seq)?;
        if !block.key.starts_with(&self.prefix) {
            return Ok(None);
        }
        let action = if block.is_deletion(seq) { Action::Delete } else { Action::Put };
        let key = block.key.slice(self.prefix.len()..);
        Ok(Some(Operation { action, entry: Entry { seq, key, value: block.value.clone() } }))
    }
}

impl Iterator for Operations {
    type Item = Result<Operation, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.wanted.limit > 0 && self.wanted.from < self.wanted.until {
            let seq = if self.wanted.reverse {
                self.wanted.until -= 1;
                self.wanted.until
            } else {
                self.wanted.from += 1;
                self.wanted.from - 1
            };
            match self.read(seq) {
                Ok(None) => {}
                Ok(Some(operation)) => {
                    self.wanted.limit -= 1;
                    return Some(Ok(operation));
                }
                Err(error) => {
                    self.wanted.limit = 0;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
