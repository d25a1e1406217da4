//! How a log that is open here meets its peers: the replication machine, and who is told what comes of it.

use crate::disk::{LogStorage, Ticket};
use crate::net::Signal;
use crate::shared::{Shared, State};
use crate::store::Inner;
use cloudpal_log::replicate::{Event, Letter, Misbehaviour, Options, Order, PeerId, Replicator, WantId};
use cloudpal_log::wire::{ChannelId, Message};
use cloudpal_log::{Log, StorageError};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

/// How long a log's writers go on by themselves before they wait for a sync that peers are told by: each such wait
/// costs them a sync, so it must not follow every write.
const PAUSE: Duration = Duration::from_millis(2);

/// A log's dealings with its peers, under the log's lock.
pub(crate) struct Exchange {
    replicator: Replicator,
    peers: HashMap<PeerId, (Arc<Signal>, ChannelId)>,
    /// Wants that somebody waits for, and whether there is nothing more to wait for.
    waits: HashMap<WantId, bool>,
    /// Storage refused; asking goes on when there is room.
    halted: bool,
    conflict: bool,
}

impl Default for Exchange {
    fn default() -> Self {
        Exchange {
            replicator: Replicator::new(Options::default()),
            peers: HashMap::new(),
            waits: HashMap::new(),
            halted: false,
            conflict: false,
        }
    }
}

impl Exchange {
    /// This side appended blocks behind the first `from`.
    pub(crate) fn appended(&mut self, from: u64, log: &Log<LogStorage>) {
        self.replicator.appended(from, log);
        self.wake_peers();
    }

    /// This side cut the log, which had `from` blocks.
    pub(crate) fn truncated(&mut self, from: u64, log: &Log<LogStorage>) {
        self.replicator.truncated(from, log);
        self.wake_peers();
    }

    /// This side gave up the bodies of blocks.
    pub(crate) fn cleared(&mut self, blocks: Range<u64>, log: &Log<LogStorage>) {
        self.replicator.cleared(blocks, log);
        self.wake_peers();
    }

    /// Asks peers for blocks.
    pub(crate) fn want(&mut self, blocks: Range<u64>, order: Order, log: &Log<LogStorage>) -> WantId {
        let want = self.replicator.want(blocks, order, log);
        self.wake_peers();
        want
    }

    /// Asks peers for one block before all else.
    pub(crate) fn want_block(&mut self, block: u64, log: &Log<LogStorage>) -> WantId {
        let want = self.replicator.want_block(block, log);
        self.wake_peers();
        want
    }

    /// Asks peers where a byte is.
    pub(crate) fn want_byte(&mut self, byte: u64, log: &Log<LogStorage>) -> WantId {
        let want = self.replicator.want_byte(byte, log);
        self.wake_peers();
        want
    }

    /// Somebody will wait for what comes of `want`, which may be known already. [`Shared::wake`] is to follow.
    pub(crate) fn watch(&mut self, want: WantId) {
        self.waits.insert(want, false);
        self.take_events();
    }

    /// Whether what a want that is watched asked for is here.
    pub(crate) fn is_answered(&self, want: WantId) -> bool {
        self.waits.get(&want).copied().unwrap_or_default()
    }

    /// Takes a want back.
    pub(crate) fn unwant(&mut self, want: WantId) {
        self.waits.remove(&want);
        self.replicator.unwant(want);
        self.wake_peers();
    }

    /// How many peers have the log open too.
    pub(crate) fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Whether no peer has more than is here.
    pub(crate) fn is_current(&self, log: &Log<LogStorage>) -> bool {
        self.replicator.is_current(log)
    }

    /// How many peers hold all that is here from block `from` on.
    pub(crate) fn holders(&self, log: &Log<LogStorage>, from: u64) -> usize {
        self.replicator.holders(log, from)
    }

    /// Whether the log's owner was seen to have signed two histories.
    pub(crate) fn conflict(&self) -> bool {
        self.conflict
    }

    /// Goes on asking after storage had refused.
    pub(crate) fn resume(&mut self) {
        if std::mem::take(&mut self.halted) {
            self.replicator.resume();
            self.wake_peers();
        }
    }

    /// Gives up on peers that have owed an answer for too long.
    pub(crate) fn tick(&mut self, now: Duration) {
        if self.replicator.poll_timeout().is_some_and(|due| due <= now) {
            self.replicator.handle_timeout(now);
            self.wake_peers();
        }
    }

    fn wake_peers(&mut self) {
        while let Some(peer) = self.replicator.poll_ready() {
            if let Some((signal, channel)) = self.peers.get(&peer) {
                signal.ready(*channel);
            }
        }
    }

    /// Deals with what the replication machine has to tell; whether the log changed.
    fn take_events(&mut self) -> bool {
        let mut changed = false;
        while let Some(event) = self.replicator.poll_event() {
            match event {
                Event::Received { .. } | Event::Upgraded { .. } => changed = true,
                Event::Done { want } | Event::Found { want, .. } => changed |= self.answered(want),
                Event::Misbehaved { peer, what } => {
                    tracing::warn!(%what, "a peer misbehaved");
                    let forgivable = matches!(what, Misbehaviour::BadProof(_));
                    if !forgivable && let Some((signal, _)) = self.peers.get(&peer) {
                        signal.close();
                    }
                }
                Event::Finished { peer } => {
                    if let Some((signal, channel)) = self.peers.get(&peer) {
                        signal.finish(*channel);
                    }
                }
                Event::Conflict { .. } => {
                    tracing::error!("the owner of a log has signed two histories of it");
                    self.conflict = true;
                    changed = true;
                }
                Event::Halted { error } => {
                    tracing::warn!(%error, "blocks from peers cannot be stored");
                    self.halted = true;
                }
                // No extension is spoken here.
                Event::Extension { .. } => {}
            }
        }
        self.wake_peers();
        changed
    }

    fn answered(&mut self, want: WantId) -> bool {
        let wait = self.waits.get_mut(&want);
        wait.map(|wait| *wait = true).is_some()
    }
}

impl Shared {
    /// The peer behind `channel` has the log open too.
    pub(crate) fn join(
        &self,
        seeks: bool,
        now: Duration,
        signal: &Arc<Signal>,
        channel: ChannelId,
    ) -> PeerId {
        let mut state = self.lock();
        let (log, exchange) = state.both();
        let peer = exchange.replicator.join(seeks, now, log);
        exchange.peers.insert(peer, (Arc::clone(signal), channel));
        drop(state);
        self.wake();
        peer
    }

    /// The peer is gone.
    pub(crate) fn leave(&self, peer: PeerId) {
        let mut state = self.lock();
        state.exchange.peers.remove(&peer);
        state.exchange.replicator.leave(peer);
        state.exchange.wake_peers();
        drop(state);
        self.wake();
    }

    /// Takes in what peers said, as one batch of the storage.
    pub(crate) fn deliver(&self, inner: &Inner, letters: Vec<(PeerId, Letter)>, now: Duration) {
        let mut state = self.lock();
        let (log, exchange) = state.both();
        for (peer, letter) in letters {
            exchange.replicator.receive(peer, letter, now, log);
        }
        exchange.replicator.settle(now, log);
        let changed = exchange.take_events();
        let healed = changed && state.heal();
        drop(state);
        if healed {
            inner.healed(self.id);
        }
        if changed {
            self.wake();
        }
    }

    /// Hands messages for a peer to `take` until it has enough or there are none. Whether there may be more.
    pub(crate) fn poll(
        &self,
        inner: &Inner,
        peer: PeerId,
        now: Duration,
        take: &mut dyn FnMut(Message) -> bool,
    ) -> bool {
        let Ok(mut state) = self.lock_to_tell(inner) else { return false };
        let (log, exchange) = state.both();
        while let Some(message) = exchange.replicator.poll(peer, now, log) {
            if take(message) {
                return true;
            }
        }
        let changed = exchange.take_events();
        drop(state);
        if changed {
            self.wake();
        }
        false
    }

    /// The lock, with everything that was written here synced.
    ///
    /// Proofs can be made for the newest length only, so all of it has to be synced before peers hear of any. The
    /// first sync runs beside the log's writers. Where they wrote again meanwhile, a second one holds them up: under
    /// a writer that never pauses there is no other moment at which everything is synced.
    fn lock_to_tell(&self, inner: &Inner) -> Result<MutexGuard<'_, State>, StorageError> {
        let mut state = self.lock();
        if !inner.engine.lasts(state.untold) {
            let untold = state.untold;
            drop(state);
            sync_to_tell(inner, untold)?;
            state = self.lock();
            if !inner.engine.lasts(state.untold) {
                drop(state);
                std::thread::sleep(PAUSE);
                state = self.lock();
            }
        }
        sync_to_tell(inner, state.untold)?;
        Ok(state)
    }
}

fn sync_to_tell(inner: &Inner, untold: Ticket) -> Result<(), StorageError> {
    inner.engine.sync_to(untold).inspect_err(
        |error| tracing::warn!(%error, "peers are told nothing new of a log that cannot be synced"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says where")]

    use crate::{LogOptions, Namespace, Store, StoreKey, Which};
    use bytes::Bytes;
    use cloudpal_log::{Durability, Feed, StorageError};
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn no_peer_hears_of_blocks_while_they_are_synced() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &StoreKey::new([1; 32]), Default::default()).unwrap();
        let log = store.open_log(Which::named(Namespace::ROOT, "log"), LogOptions::default()).unwrap();
        let log = log.with_durability(Durability::Relaxed);
        log.sync().unwrap();
        log.append(&[Bytes::from_static(b"new")]).unwrap();
        let shared = store.inner.all_open().pop().unwrap();
        let engine = &store.inner.engine;
        let (begun, begins) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let slow = |_: &[_]| {
                    begun.send(()).unwrap();
                    ends.recv().unwrap();
                    Ok::<(), StorageError>(())
                };
                engine.group().wait(engine.newest(), slow).unwrap();
            });
            begins.recv().unwrap();
            for _ in 0..2 {
                let (tell, shared, inner) = (tell.clone(), &shared, &store.inner);
                scope.spawn(move || {
                    drop(shared.lock_to_tell(inner).unwrap());
                    tell.send(()).unwrap();
                });
            }
            let early = told.recv_timeout(Duration::from_millis(200));
            end.send(()).unwrap();
            early.expect_err("a peer heard of blocks that a loss of power would take back");
            told.recv().unwrap();
            told.recv().unwrap();
        });
    }
}
