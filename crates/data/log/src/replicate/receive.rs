use super::event::{Event, PeerId};
use super::peer::Standing;
use super::{Fill, Letter, Replicator};
use crate::wire::{Message, NOT_AVAILABLE, Sync};
use crate::{Log, Storage, flat};
use std::time::Duration;

/// Requests a peer may refuse in a row before it is asked no more (JS: `MAX_BACKOFFS`).
const MOST_REFUSED: u64 = 32;
/// Bytes of blocks that wait for [`Replicator::settle`] before it is called from here.
const MOST_WAITING: usize = 16 << 20;

impl Replicator {
    /// Takes in a message of a peer. Proofs wait until [`settle`](Self::settle): call that when no more messages
    /// are at hand.
    pub fn receive<S: Storage>(
        &mut self,
        id: PeerId,
        message: impl Into<Letter>,
        now: Duration,
        log: &mut Log<S>,
    ) {
        let Letter { message, leaf } = message.into();
        match message {
            Message::Sync(sync) => self.on_sync(id, sync, log),
            Message::Request(request) => self.on_request(id, request),
            Message::Cancel { request } => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.queue.cancel(request);
                }
            }
            Message::Data(data) => {
                if self.on_data(id, *data, leaf, now) > MOST_WAITING {
                    self.settle(now, log);
                }
            }
            Message::NoData { request, reason } => self.on_no_data(id, request, reason, now, log.fork()),
            Message::Want(span) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.announcements.want(span, log);
                }
                self.wake(id);
            }
            Message::Unwant(span) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.announcements.unwant(span);
                }
            }
            Message::Bitfield { start, bits } => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.have.bitfield(start, &bits);
                    peer.no_tree = false;
                    self.seek_anew(id);
                }
                self.wake(id);
            }
            Message::Range { drop, start, length } => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.have.range(start, length, if drop { Fill::Clear } else { Fill::Set });
                    peer.no_tree = false;
                    if drop {
                        peer.announcements.dropped(start, start.saturating_add(length), log);
                    }
                    self.seek_anew(id);
                }
                self.wake(id);
            }
            Message::Extension { name, message } => {
                let Some(peer) = self.peers.get_mut(&id) else { return };
                let last = &mut peer.last_extension.received;
                if !name.is_empty() {
                    *last = name;
                }
                let name = last.clone();
                self.events.push_back(Event::Extension { peer: id, name, message });
            }
        }
    }

    fn on_sync<S: Storage>(&mut self, id: PeerId, sync: Sync, log: &Log<S>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.fork() != sync.fork {
            peer.ask_have_anew();
        }
        peer.remote = Some(sync);
        peer.no_tree = false;
        if sync.fork == log.fork() && log.length() > sync.length {
            // It waits to hear that we know its length.
            peer.sync_due = true;
        }
        self.update_upgrade(id, log);
        self.wake(id);
    }

    /// Finds out whether we can bring a peer from its length to ours.
    pub(super) fn update_upgrade<S: Storage>(&mut self, id: PeerId, log: &Log<S>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (fork, length) = (peer.fork(), peer.length());
        let same_fork = fork == log.fork();
        let can = same_fork && (length == 0 || log.can_upgrade(length).unwrap_or(false));
        if can != peer.can_upgrade {
            peer.can_upgrade = can;
            peer.sync_due = true;
        }
        if same_fork
            && length <= log.length()
            && flat::roots(length).all(|it| matches!(log.missing_nodes(it), Ok(0)))
        {
            peer.agrees = Some((fork, length));
        }
    }

    /// What we have and do, as `id` should hear it.
    pub(super) fn sync<S: Storage>(&self, id: PeerId, log: &Log<S>) -> Message {
        let peer = self.peers.get(&id);
        let same_fork = peer.is_some_and(|peer| peer.fork() == log.fork());
        Message::Sync(Sync {
            fork: log.fork(),
            length: log.length(),
            remote_length: peer.filter(|_| same_fork).map_or(0, |peer| peer.length()),
            can_upgrade: same_fork && peer.is_some_and(|peer| peer.can_upgrade),
            uploading: true,
            // A peer that hears no would close the channel.
            downloading: true,
            has_manifest: log.manifest().is_some() && !log.is_compat(),
            allow_push: self.options.allow_push && !self.halted,
        })
    }

    fn on_no_data(&mut self, id: PeerId, request: u64, reason: u64, now: Duration, fork: u64) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(pending) = peer.asked.take(request) else { return };
        peer.window.answered(pending.at, now);
        peer.heard = now;
        peer.coming.clear();
        let same_fork = pending.proof.fork == peer.fork();
        if let Some(block) = pending.proof.block {
            // It said that it has it, and has not; in another fork it may have another.
            if same_fork {
                peer.have.range(block.index, 1, Fill::Clear);
            }
            peer.tree_alone |= pending.proof.upgrade.is_some();
        } else if pending.proof.upgrade.is_some() {
            peer.tree_refused(&pending.proof);
        } else if same_fork && pending.proof.fork > fork {
            // Which nodes it has of a newer tree depends on the blocks that it has.
            peer.no_tree = true;
        }
        if let Some(hash) = pending.proof.hash {
            self.seek_refused(id, hash);
        }
        // Whoever cut its log refuses all that it was asked of the old fork.
        if reason >= NOT_AVAILABLE && same_fork {
            self.refused(id);
        }
        self.undo(id, pending);
        self.wake_all();
    }

    /// An answer of a peer was of no use. One that gives nothing else is asked less.
    pub(super) fn refused(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.traffic.refused += 1;
        if peer.traffic.refused >= MOST_REFUSED + peer.traffic.blocks_in && peer.standing == Standing::Good {
            peer.standing = Standing::Stalled;
        }
    }
}
