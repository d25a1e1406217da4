use super::arrive::{Arrival, Origin};
use super::event::{Event, Misbehaviour, PeerId};
use super::peer::Peer;
use super::{Replicator, path};
use crate::wire::{Message, Request};
use crate::{Durability, Log, Proof, ProofError, ProofRequest, Storage, StorageError, UpgradeRequest};
use std::ops::Range;
use std::time::Duration;

/// Proofs that may wait for an answer still on its way.
const MOST_EARLY: usize = 4096;

impl Replicator {
    /// Verifies and stores the proofs that came: all of them in one batch of the storage.
    pub fn settle<S: Storage>(&mut self, now: Duration, log: &mut Log<S>) {
        if self.arrived.waiting.is_empty() {
            return;
        }
        let mut arrivals = std::mem::take(&mut self.arrived.early);
        arrivals.append(&mut self.arrived.waiting);
        self.arrived.bytes = 0;
        // JS answers what it was asked together in the order in which its disk does; requests count on nodes in the
        // order in which they were made.
        arrivals.sort_by_key(|arrival| (arrival.origin.peer, arrival.origin.id));
        for arrival in &arrivals {
            if let Some(peer) = self.peers.get_mut(&arrival.origin.peer) {
                // What our own disk took since it came is not time that the peer let pass.
                peer.heard = now;
            }
        }
        let mut arrivals: Vec<Arrival> = arrivals.into_iter().filter_map(|it| self.admit(it, log)).collect();
        while self.apply(arrivals, log) == Progress::Some && !self.arrived.early.is_empty() {
            arrivals = std::mem::take(&mut self.arrived.early);
        }
        self.give_up_early();
        self.progress(log);
        self.wake_all();
    }

    /// Proofs for which nothing is on its way that could help are asked for again, with all their nodes.
    fn give_up_early(&mut self) {
        let Replicator { arrived, peers, .. } = self;
        let waits =
            |it: &Arrival| peers.get(&it.origin.peer).is_some_and(|peer| peer.asked.any_before(it.origin.id));
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut arrived.early).into_iter().partition(waits);
        arrived.early = kept;
        for arrival in gone {
            if let Some(peer) = self.peers.get_mut(&arrival.origin.peer) {
                peer.coming.clear();
            }
            self.give_up(arrival.origin);
        }
    }

    /// Passes on the proofs that are about the log as it is; the others are dealt with here.
    fn admit<S: Storage>(&mut self, arrival: Arrival, log: &mut Log<S>) -> Option<Arrival> {
        let Arrival { origin, proof, .. } = &arrival;
        if self.halted || self.frozen {
            self.give_up(*origin);
            return None;
        }
        if only_manifest(proof) {
            self.take_manifest(arrival, log);
            return None;
        }
        if !Self::fits(&arrival) {
            self.give_up(*origin);
            self.misbehaved(origin.peer, Misbehaviour::WrongAnswer);
            return None;
        }
        if let Some(asked) = origin.asked.filter(|asked| falls_short(&asked.proof, proof)) {
            if let Some(peer) = self.peers.get_mut(&origin.peer) {
                peer.tree_refused(&asked.proof);
            }
            self.refused(origin.peer);
            self.give_up(*origin);
            return None;
        }
        if proof.fork > log.fork() {
            self.on_fork(arrival, log);
            return None;
        }
        if origin.asked.is_none() {
            let whole = proof.fork == log.fork() && proof.upgrade.as_ref().is_some_and(|it| it.start == 0);
            if whole && self.shows_conflict(&arrival, log) || !self.options.allow_push {
                return None;
            }
        }
        Some(arrival)
    }

    /// A peer that cannot answer sends its manifest if that was asked for too, and names its own fork with it.
    fn take_manifest<S: Storage>(&mut self, arrival: Arrival, log: &mut Log<S>) {
        let Arrival { origin, mut proof, .. } = arrival;
        if let (Some(peer), Some(asked)) = (self.peers.get_mut(&origin.peer), origin.asked) {
            peer.tree_refused(&asked.proof);
        }
        self.give_up(origin);
        // Which fork is meant does not matter: the manifest is checked against the log's key.
        proof.fork = log.fork();
        match log.apply(&proof, self.options.durability) {
            Err(ProofError::Storage(error)) => self.halt(error),
            Err(error) if error.blames_peer() => self.bad_proof(origin.peer, &error, log),
            _ => {}
        }
    }

    fn apply<S: Storage>(&mut self, arrivals: Vec<Arrival>, log: &mut Log<S>) -> Progress {
        if arrivals.is_empty() {
            return Progress::None;
        }
        let before = log.length();
        let leaves: Vec<_> = arrivals.iter().map(|it| it.leaf).collect();
        let (origins, proofs): (Vec<_>, Vec<_>) =
            arrivals.into_iter().map(|it| (it.origin, it.proof)).unzip();
        let results = match log.apply_hashed(&proofs, leaves.clone(), self.options.durability) {
            Ok(results) => results,
            Err(error) => {
                origins.into_iter().for_each(|origin| self.give_up(origin));
                self.halt(error);
                return Progress::None;
            }
        };
        let progress = Progress::from(results.iter().any(Result::is_ok));
        let mut blocks = Vec::new();
        for (((origin, proof), leaf), result) in origins.into_iter().zip(proofs).zip(leaves).zip(results) {
            match result {
                Ok(_) => self.accepted(origin, &proof, &mut blocks),
                Err(error) => self.rejected(Arrival { origin, proof, leaf }, error, log),
            }
        }
        for range in runs(blocks) {
            self.tell_came(range.clone(), log);
            self.singles_done(range.clone());
            self.events.push_back(Event::Received { blocks: range });
        }
        if log.length() != before {
            self.events.push_back(Event::Upgraded { fork: log.fork(), length: log.length(), since: before });
            self.changed(log);
        }
        progress
    }

    fn accepted(&mut self, origin: Origin, proof: &Proof, blocks: &mut Vec<u64>) {
        let Origin { peer, asked, .. } = origin;
        if proof.upgrade.is_some() && self.upgrading == Some(peer) && asked.is_some() {
            self.upgrading = None;
            if let Some(peer) = self.peers.get_mut(&peer) {
                peer.tree_alone = false;
            }
        }
        if let Some(hash) = asked.and_then(|asked| asked.proof.hash) {
            self.seek_over(peer, hash);
        }
        if let Some(hash) = &proof.hash {
            path::note(hash.index, hash.nodes.len().saturating_sub(1) as u64, &mut self.known);
        }
        let Some(block) = &proof.block else { return };
        path::note(2 * block.index, block.nodes.len() as u64, &mut self.known);
        self.in_flight.remove(block.index);
        self.wants.urgent.remove(&block.index);
        blocks.push(block.index);
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.traffic.blocks_in += 1;
            peer.traffic.bytes_in += block.value.len() as u64;
        }
    }

    fn rejected<S: Storage>(&mut self, arrival: Arrival, error: ProofError, log: &Log<S>) {
        let origin = arrival.origin;
        let untied = matches!(error, ProofError::Untied { .. });
        if untied && origin.trusted() && self.arrived.early.len() < MOST_EARLY {
            return self.arrived.early.push(arrival);
        }
        self.give_up(origin);
        let Some(peer) = self.peers.get_mut(&origin.peer) else { return };
        match error {
            ProofError::Untied { .. } if origin.trusted() => peer.coming.clear(),
            // What is pushed may be about a tree that we do not have yet.
            _ if origin.asked.is_none() => {}
            ProofError::Untied { .. } => {
                // Asked for up to a root or a node that came before: what it sent is too short.
                self.known.clear();
                self.bad_proof(origin.peer, &error, log);
            }
            error if error.blames_peer() => self.bad_proof(origin.peer, &error, log),
            // The log changed since it was asked.
            _ => {}
        }
    }

    fn bad_proof<S: Storage>(&mut self, id: PeerId, error: &ProofError, log: &Log<S>) {
        let first = self.doubted(id, error);
        let same_fork = |peer: &&mut Peer| peer.fork() == log.fork();
        let Some(peer) = self.peers.get_mut(&id).filter(same_fork).filter(|_| first) else { return };
        // It may be right by another tree that the same owner signed: let it show that.
        if let Some(length) = std::num::NonZero::new(peer.length().min(log.length())) {
            let upgrade = Some(UpgradeRequest { start: 0, length: length.get() });
            let proof = ProofRequest { fork: log.fork(), upgrade, ..ProofRequest::default() };
            peer.outbox.push_back(Message::Request(Request { id: 0, proof, priority: 0 }));
        }
    }

    /// Whether the owner signed what cannot stand beside what is held.
    fn shows_conflict<S: Storage>(&mut self, arrival: &Arrival, log: &mut Log<S>) -> bool {
        if !matches!(log.check_conflict(&arrival.proof), Ok(Some(_))) {
            return false;
        }
        self.frozen = true;
        if let Err(error) = log.freeze(Durability::Durable) {
            self.events.push_back(Event::Halted { error });
        }
        self.events.push_back(Event::Conflict { peer: arrival.origin.peer });
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.take_back(id);
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let length = peer.length().min(log.length());
            if peer.fork() == log.fork() && length > 0 {
                let upgrade = Some(UpgradeRequest { start: 0, length });
                let proof = ProofRequest { fork: log.fork(), upgrade, ..ProofRequest::default() };
                peer.queue.push(Request { id: 0, proof, priority: 1 });
            } else {
                self.events.push_back(Event::Finished { peer: id });
            }
        }
        true
    }

    /// Lets others be asked for what a proof did not bring.
    pub(super) fn give_up(&mut self, origin: Origin) {
        if let Some(pending) = origin.asked {
            self.undo(origin.peer, pending);
        }
    }

    /// Stops asking: what comes cannot be kept.
    pub(super) fn halt(&mut self, error: StorageError) {
        self.halted = true;
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.take_back(id);
        }
        self.events.push_back(Event::Halted { error });
    }
}

/// Whether an answer leaves out what was asked for: JS answers so for an empty log.
const fn falls_short(asked: &ProofRequest, proof: &Proof) -> bool {
    asked.block.is_some() && proof.block.is_none()
        || asked.hash.is_some() && proof.hash.is_none()
        || asked.upgrade.is_some() && proof.upgrade.is_none()
}

fn only_manifest(proof: &Proof) -> bool {
    let Proof { fork: _, block, hash, seek, upgrade, manifest } = proof;
    manifest.is_some() && block.is_none() && hash.is_none() && seek.is_none() && upgrade.is_none()
}

/// Whether something of a batch of proofs was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    None,
    Some,
}

impl From<bool> for Progress {
    fn from(some: bool) -> Self {
        if some { Progress::Some } else { Progress::None }
    }
}

/// Numbers as ranges.
fn runs(mut numbers: Vec<u64>) -> Vec<Range<u64>> {
    numbers.sort_unstable();
    let mut runs: Vec<Range<u64>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if run.end >= number => run.end = run.end.max(number + 1),
            _ => runs.push(number..number + 1),
        }
    }
    runs
}
