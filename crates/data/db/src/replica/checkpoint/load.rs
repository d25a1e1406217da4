use super::{Found, Settled};
use crate::clock::Clock;
use crate::error::{KeepError, ReadError};
use crate::merge::Tally;
use crate::replica::{Advanced, Logs, Replica, Writer};
use crate::sub::Kind;
use crate::view::StateHash;
use crate::wire::{CheckpointBlock, Chunk, Item, Items, What};
use crate::{Heads, Stamp, Sub, WriterId, row};
use cloudpal_sorted::{Batch, Pages};
use std::collections::BTreeMap;

/// Rows put into the view at once.
const AT_ONCE: usize = 4096;

/// What the contents come to beside the rows.
#[derive(Default)]
struct Contents {
    seen: BTreeMap<crate::ClientId, Heads>,
    tally: Tally,
    latest: Heads,
    stamp: Stamp,
}

impl<P: Pages> Replica<P> {
    /// Loads the checkpoint that was found, if its blocks and the key are here.
    pub(super) fn load_found(
        &mut self,
        logs: &dyn Logs,
        advanced: &mut Advanced,
    ) -> Result<Settled, KeepError> {
        let Some(found) = &mut self.found else { return Ok(Settled::Nothing) };
        let (log, chunks) = (found.checkpoint.log, found.chunks());
        while found.held < chunks.end {
            let Some(block) = logs.block(&log, found.held).map_err(ReadError::from)? else {
                advanced.missing.push((log, found.held));
                return Ok(Settled::Nothing);
            };
            match CheckpointBlock::decode(&block).map(|block| block.what) {
                Ok(What::Chunk(chunk)) => found.epoch = Some(chunk.epoch),
                _ => return Ok(self.give_up(None)),
            }
            found.held += 1;
        }
        if let Some(epoch) = found.epoch.filter(|epoch| !self.keys.contains_key(epoch)) {
            return self.look_for_key(epoch, logs);
        }
        let Some(found) = self.found.take() else { return Ok(Settled::Nothing) };
        match self.fill(&found, logs)? {
            Some(contents) => {
                self.begin_from(found, contents);
                advanced.loaded = true;
                Ok(Settled::News)
            }
            None => Ok(self.give_up(Some(found))),
        }
    }

    /// A checkpoint that makes no sense is left alone. What was in the view is gone, so everything is merged again.
    fn give_up(&mut self, begun: Option<Found>) -> Settled {
        let emptied = begun.is_some();
        if let Some(found) = begun.or_else(|| self.found.take()) {
            let checkpoint = found.checkpoint;
            self.spoil(checkpoint.log, checkpoint.tail, "the contents of a checkpoint are not what it says");
        }
        if emptied {
            self.base = None;
            self.stale = false;
            self.forget();
        }
        Settled::News
    }

    /// Fills the view with the contents; none if they are not what the checkpoint says.
    fn fill(&mut self, found: &Found, logs: &dyn Logs) -> Result<Option<Contents>, KeepError> {
        // From here on the view is not what its mark says, until all is there.
        self.stale = true;
        self.sorted.clear()?;
        let log = found.checkpoint.log;
        let (mut items, mut contents) = (Items::default(), Contents::default());
        let (mut hash, mut batch, mut rows) = (StateHash::new(), Batch::new(), 0);
        for position in found.chunks() {
            let Some(piece) = self.piece(log, position, logs)? else { return Ok(None) };
            items.add(&piece);
            loop {
                match items.take() {
                    Ok(None) => break,
                    Ok(Some(Item::Row(row, value))) if row::is_state(&row) => {
                        hash.add(&row, &value);
                        batch.put(row, value);
                        rows += 1;
                    }
                    Ok(Some(item)) => {
                        if !contents.take(item) {
                            return Ok(None);
                        }
                    }
                    Err(_) => return Ok(None),
                }
                if rows == AT_ONCE {
                    rows = 0;
                    self.sorted.write(std::mem::take(&mut batch));
                    self.keep()?;
                }
            }
        }
        self.sorted.write(batch);
        self.keep()?;
        Ok((items.is_empty() && hash.finish() == found.tail.state_hash).then_some(contents))
    }

    fn piece(&self, log: WriterId, position: u64, logs: &dyn Logs) -> Result<Option<Vec<u8>>, KeepError> {
        let block = logs.block(&log, position).map_err(ReadError::from)?;
        let block = block.as_ref().map(CheckpointBlock::decode);
        let Some(Ok(CheckpointBlock { what: What::Chunk(chunk), .. })) = block else { return Ok(None) };
        let open = |chunk: &Chunk| chunk.open(self.keys.get(&chunk.epoch)?, &log, position);
        Ok(open(&chunk))
    }

    fn begin_from(&mut self, found: Found, mut contents: Contents) {
        self.settle_records(&found);
        self.writers.clear();
        for (writer, read) in &found.standing.writers {
            let id = WriterId(*writer);
            let seen = contents.seen.remove(&id.client()).unwrap_or_default();
            let writer = Writer { read: *read, scanned: *read, seen, ..Writer::new(id) };
            self.writers.insert(id.client(), writer);
        }
        self.untold = contents.latest.clone();
        self.latest = contents.latest;
        self.tally = contents.tally;
        let Clock(now) = self.clock;
        self.clock = Clock(now.max(contents.stamp));
        self.base = Some(found.checkpoint);
        self.stale = false;
        self.feed = 0;
        self.generation += 1;
        self.refusals.clear();
        self.version += 1;
        // Nothing was merged behind the checkpoint, so nothing can be wrong.
        self.members_changed();
    }
}

impl Found {
    /// The blocks that hold the contents.
    fn chunks(&self) -> std::ops::Range<u64> {
        self.first..self.checkpoint.tail - self.tail.standing
    }
}

impl Contents {
    /// Whether the item makes sense.
    fn take(&mut self, item: Item) -> bool {
        match item {
            Item::Row(..) => return false,
            Item::Seen(client, heads) => {
                self.seen.insert(client, heads);
            }
            Item::Index { kind, name, path } => {
                let Some(Ok(sub)) = Kind::from_byte(kind).map(|kind| Sub::new(name, kind)) else {
                    return false;
                };
                self.tally.indexes.declare(&sub, &path);
            }
            Item::Rest { latest, stamp, conflicts } => {
                self.latest = latest;
                self.stamp = stamp;
                self.tally.conflicts = conflicts;
            }
        }
        true
    }
}
