use super::asked::{Pending, Trust};
use super::event::PeerId;
use super::peer::Standing;
use super::{Replicator, path};
use crate::wire::{Message, Request, Sync};
use crate::{BlockRequest, Log, ProofRequest, Seek, Storage, UpgradeRequest};
use std::time::Duration;

/// Blocks of one want: what JS 10 and 11 ask for.
pub(super) const SEGMENT: u64 = 2_097_152;
/// What JS gives a block that somebody waits for.
const HIGH: u64 = 1;

impl Replicator {
    /// The next thing to ask a peer for; none when there is nothing, or enough is asked already.
    pub(super) fn ask<S: Storage>(&mut self, id: PeerId, now: Duration, log: &Log<S>) -> Option<Message> {
        if self.halted || self.frozen {
            return None;
        }
        let peer = self.peers.get_mut(&id)?;
        let remote = peer.remote?;
        let stalled = peer.standing == Standing::Stalled;
        let asked_enough = stalled && !peer.asked.is_empty();
        if !remote.uploading || !peer.may_be_asked() || asked_enough {
            return None;
        }
        if stalled && self.has_better(remote) {
            return None;
        }
        if remote.fork > log.fork() {
            return match self.ask_fork(id, now, log) {
                Some(proof) => Some(self.send(id, proof, Trust::Held, now)),
                None => self.ask_have_of_fork(id),
            };
        }
        if remote.fork != log.fork() {
            return None;
        }
        if let Some(proof) = self.ask_manifest(id, log).or_else(|| self.ask_upgrade(id, log)) {
            return Some(self.send(id, proof, Trust::Held, now));
        }
        if let Some(proof) = self.ask_seek(id, log) {
            return Some(self.send(id, proof, Trust::Held, now));
        }
        self.ask_block(id, now, log).or_else(|| self.ask_have(id, log))
    }

    /// Whether a peer that answers has all that a stalled one says it has.
    fn has_better(&self, stalled: Sync) -> bool {
        self.peers.values().filter(|peer| peer.standing == Standing::Good).any(|peer| {
            peer.fork() == stalled.fork
                && peer.length() >= stalled.length
                && peer.have.next_missing(0) >= peer.length()
        })
    }

    fn send(&mut self, id: PeerId, proof: ProofRequest, trust: Trust, now: Duration) -> Message {
        let priority =
            proof.block.filter(|block| self.wants.singles.contains_key(&block.index)).map_or(0, |_| HIGH);
        let mut request = Request { id: 0, proof, priority };
        if let Some(peer) = self.peers.get_mut(&id) {
            if peer.asked.is_empty() {
                peer.heard = now;
            }
            request.id = peer.asked.push(Pending { proof, at: now, trust });
        }
        Message::Request(request)
    }

    /// A peer with a manifest and no blocks: the manifest comes with an upgrade otherwise.
    fn ask_manifest<S: Storage>(&mut self, id: PeerId, log: &Log<S>) -> Option<ProofRequest> {
        let peer = self.peers.get(&id)?;
        let remote = peer.remote?;
        let wanted = log.manifest().is_none() && remote.has_manifest && remote.length == 0;
        (wanted && peer.asked.is_empty()).then(|| ProofRequest {
            fork: log.fork(),
            manifest: true,
            ..ProofRequest::default()
        })
    }

    /// A longer tree, with the first block of it that is wanted.
    fn ask_upgrade<S: Storage>(&mut self, id: PeerId, log: &Log<S>) -> Option<ProofRequest> {
        if self.upgrading.is_some() {
            return None;
        }
        let peer = self.peers.get(&id)?;
        let remote = peer.remote?;
        let length = log.length();
        let can = remote.can_upgrade && remote.length > length && remote.remote_length == length;
        if !can || !peer.may_prove() || !(self.options.eager_upgrade || self.wants.beyond(length)) {
            return None;
        }
        let block = self
            .wants
            .first_beyond(length, remote.length, peer)
            .filter(|block| !peer.tree_alone && !self.in_flight.get(*block));
        if let Some(block) = block {
            self.in_flight.insert(block);
            self.wants.urgent.remove(&block);
        }
        self.upgrading = Some(id);
        Some(ProofRequest {
            fork: log.fork(),
            block: block.map(|index| BlockRequest { index, nodes: 0 }),
            upgrade: Some(UpgradeRequest { start: length, length: remote.length - length }),
            manifest: log.manifest().is_none() && remote.has_manifest,
            ..ProofRequest::default()
        })
    }

    fn ask_block<S: Storage>(&mut self, id: PeerId, now: Duration, log: &Log<S>) -> Option<Message> {
        let peer = self.peers.get_mut(&id)?;
        let most = peer.window.size(log.byte_length() / log.length().max(1));
        let asked = peer.asked.len();
        if asked >= most {
            peer.window.reached();
            peer.filling = false;
            return None;
        }
        // In bunches, which share a frame.
        peer.filling |= asked * 8 <= most * 7;
        if !peer.filling {
            return None;
        }
        let block = self.next_block(id, log)?;
        let peer = self.peers.get_mut(&id)?;
        // Past the limit of the set nothing more can be asked for; some answer will make room.
        if !self.in_flight.insert(block) {
            return None;
        }
        let length = peer.length().min(log.length());
        let (known, coming) = (&self.known, &peer.coming);
        let held = path::missing(2 * block, length, |node| known.get(node));
        let nodes = path::missing(2 * block, length, |node| known.get(node) || coming.get(node));
        path::note(2 * block, nodes, &mut peer.coming);
        let trust = if nodes < held { Trust::Coming } else { Trust::Held };
        let block = Some(BlockRequest { index: block, nodes });
        let proof = ProofRequest { fork: log.fork(), block, ..ProofRequest::default() };
        Some(self.send(id, proof, trust, now))
    }

    /// The first block that is wanted, not held, not asked for, and with this peer.
    fn next_block<S: Storage>(&mut self, id: PeerId, log: &Log<S>) -> Option<u64> {
        let Replicator { peers, wants, in_flight, .. } = self;
        let peer = peers.get(&id)?;
        let end = peer.valid_end(log.fork(), log.length());
        let urgent = wants.urgent.range(..end).find(|block| peer.have.contains(**block)).copied();
        if let Some(block) = urgent {
            wants.urgent.remove(&block);
            return (!log.has(block) && !in_flight.get(block)).then_some(block);
        }
        for part in wants.spans.iter_mut().flat_map(|span| &mut span.parts) {
            let stop = end.min(part.end);
            let free = |from: u64| {
                let mut at = from;
                loop {
                    let missing = log.next_missing(at);
                    at = in_flight.next_clear(missing);
                    if at == missing || at >= stop {
                        return at;
                    }
                }
            };
            part.cursor = free(part.cursor);
            let mut at = part.cursor;
            while at < stop {
                match peer.have.next(at) {
                    Some(there) if there == at => return Some(at),
                    Some(there) if there < stop => at = free(there),
                    _ => break,
                }
            }
        }
        None
    }

    /// Asks which blocks a peer has, where that matters and was not asked.
    fn ask_have<S: Storage>(&mut self, id: PeerId, log: &Log<S>) -> Option<Message> {
        let Replicator { peers, wants, .. } = self;
        let peer = peers.get_mut(&id)?;
        let length = peer.length();
        let spans = wants.spans.iter().flat_map(|span| &span.parts).map(|part| (part.start, part.end));
        let singles = wants.urgent.iter().map(|block| (*block, block + 1));
        let seeks =
            wants.seeks.iter().filter(|seek| !seek.beyond).filter_map(|seek| match log.seek(seek.bytes) {
                Ok(Seek::Within(blocks)) => Some((blocks.start, blocks.end)),
                _ => None,
            });
        for (start, end) in spans.chain(singles).chain(seeks) {
            let end = end.min(length);
            let mut at = start;
            while at < end {
                let missing = log.next_missing(at);
                let unknown = peer.have.next_missing(missing);
                if unknown >= end {
                    break;
                }
                if log.has(unknown) {
                    at = unknown + 1;
                    continue;
                }
                let segment = unknown / SEGMENT;
                if let Some(want) = peer.want_segment(segment) {
                    return Some(want);
                }
                at = (segment + 1) * SEGMENT;
            }
        }
        None
    }

    /// Takes requests back that nothing wants any more.
    pub(super) fn cancel_unwanted(&mut self) {
        let Replicator { peers, wants, in_flight, .. } = self;
        for (id, peer) in peers.iter_mut() {
            let only_block = |proof: &ProofRequest| proof.block.filter(|_| proof.upgrade.is_none());
            let unwanted: Vec<(u64, u64)> = peer
                .asked
                .iter()
                .filter_map(|(request, pending)| Some((request, only_block(&pending.proof)?.index)))
                .filter(|(_, block)| !wants.covers(*block))
                .collect();
            if unwanted.is_empty() {
                continue;
            }
            // What later requests counted on may not come now.
            peer.coming.clear();
            for (request, block) in unwanted {
                peer.asked.take(request);
                in_flight.remove(block);
                peer.outbox.push_back(Message::Cancel { request });
            }
            if !peer.ready {
                peer.ready = true;
                self.ready.push_back(*id);
            }
        }
    }
}
