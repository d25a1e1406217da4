use crate::shared::Shared;
use crate::table::Table;
use crate::version::Version;
use crate::{Cursor, Pages, ReadError};
use bytes::Bytes;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// The direction of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// From the least key.
    #[default]
    Ascending,
    /// From the greatest key.
    Descending,
}

/// Where a scan begins and ends: its lower and its upper bound, in either order. Nothing is between bounds that cross.
pub type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// One version of a map.
#[derive(Debug)]
pub struct Snapshot<P> {
    pub(crate) shared: Arc<Shared<P>>,
    pub(crate) active: Table,
    /// Newest first.
    pub(crate) frozen: Vec<Table>,
    pub(crate) version: Arc<Version>,
}

impl<P> Clone for Snapshot<P> {
    fn clone(&self) -> Self {
        Snapshot {
            shared: self.shared.clone(),
            active: self.active.clone(),
            frozen: self.frozen.clone(),
            version: self.version.clone(),
        }
    }
}

impl<P: Pages> Snapshot<P> {
    /// The value of a key. None when it is not there.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let mut tables = [&self.active].into_iter().chain(&self.frozen);
        match tables.find_map(|table| table.get(key)) {
            Some(entry) => Ok(entry.to_value()),
            None => Ok(self.version.get(&self.shared.load(), key)?.flatten()),
        }
    }

    /// Visits what lies within the bounds, in order, until told to stop.
    ///
    /// A value may be a part of a page: what is kept for long keeps its page in memory, so copy it.
    pub fn scan(
        &self,
        bounds: Bounds<'_>,
        order: Order,
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut cursor = self.cursor(bounds, order)?;
        while let Some((key, value)) = cursor.entry() {
            if visit(key, &value).is_break() {
                break;
            }
            cursor.advance()?;
        }
        Ok(())
    }

    /// A scan that its holder drives. It holds the snapshot.
    pub fn cursor(&self, bounds: Bounds<'_>, order: Order) -> Result<Cursor<P>, ReadError> {
        Cursor::new(self.clone(), bounds, order)
    }
}
