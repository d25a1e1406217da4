//! Following the owner into a newer fork: first the newer tree is proved, then the place where it leaves ours is
//! looked for, going down the tree, and only then is anything given up.

use super::arrive::Arrival;
use super::asked::Pending;
use super::event::{Event, PeerId};
use super::time::PATIENCE;
use super::{Replicator, ask};
use crate::wire::Message;
use crate::{HashRequest, Log, ProofError, ProofRequest, Reorg, Storage, UpgradeRequest};
use std::time::Duration;

/// A newer fork that is being looked into.
#[derive(Debug)]
pub(crate) struct Reorganizing {
    fork: u64,
    /// None until the newer tree is proved.
    work: Option<Reorg>,
    /// Since when nobody was known to have a block on the way to where the trees part.
    lost: Option<Duration>,
}

impl Replicator {
    /// What to ask a peer in a newer fork.
    pub(super) fn ask_fork<S: Storage>(
        &mut self,
        id: PeerId,
        now: Duration,
        log: &Log<S>,
    ) -> Option<ProofRequest> {
        let remote = self.peers.get(&id)?.remote?;
        if !self.options.allow_fork || remote.length == 0 {
            return None;
        }
        // Nobody is left who could show the fork that was being looked into.
        let lost = |fork: u64| !self.peers.values().any(|peer| peer.fork() == fork && peer.may_prove());
        if self.reorganizing.as_ref().is_some_and(|it| lost(it.fork)) {
            self.reorganizing = None;
        }
        if !self.peers.get(&id)?.may_prove() {
            return None;
        }
        let newer = self.reorganizing.as_ref().is_none_or(|it| it.fork < remote.fork);
        if newer {
            self.reorganizing = Some(Reorganizing { fork: remote.fork, work: None, lost: None });
        }
        let reorganizing = self.reorganizing.as_mut()?;
        let asked = |(_, pending): (u64, &Pending)| pending.proof.fork == remote.fork;
        if reorganizing.fork != remote.fork || self.peers.values().any(|peer| peer.asked.iter().any(asked)) {
            return None;
        }
        let fork = remote.fork;
        let Some(work) = &reorganizing.work else {
            let upgrade = Some(UpgradeRequest { start: 0, length: remote.length });
            let manifest = log.manifest().is_none() && remote.has_manifest;
            return Some(ProofRequest { fork, upgrade, manifest, ..ProofRequest::default() });
        };
        let want = work.want()?;
        let block = match self.peers.get(&id)?.have.next_in(&want.blocks) {
            Some(block) => block,
            // npm cuts the connection when it is asked for nodes that it does not have, and has them only for
            // its blocks. One of ours may have them all the same.
            None if now < *reorganizing.lost.get_or_insert(now) + PATIENCE => return None,
            None => want.blocks.start,
        };
        reorganizing.lost = None;
        let hash = Some(HashRequest { index: 2 * block, nodes: want.nodes });
        Some(ProofRequest { fork, hash, ..ProofRequest::default() })
    }

    /// Asks a peer in a newer fork which blocks it has on the way to where the trees part.
    pub(super) fn ask_have_of_fork(&mut self, id: PeerId) -> Option<Message> {
        let Reorganizing { fork, work, .. } = self.reorganizing.as_ref()?;
        let want = work.as_ref()?.want()?;
        let peer = self.peers.get_mut(&id).filter(|peer| peer.fork() == *fork)?;
        match peer.have.next_in(&want.blocks) {
            Some(_) => None,
            None => peer.want_segment(want.blocks.start / ask::SEGMENT),
        }
    }

    /// When a way into a newer fork is asked for without knowing who has it.
    pub(super) fn lost_until(&self) -> Option<Duration> {
        Some(self.reorganizing.as_ref()?.lost? + PATIENCE)
    }

    /// A proof of a newer fork came.
    pub(super) fn on_fork<S: Storage>(&mut self, arrival: Arrival, log: &mut Log<S>) {
        let (peer, fork) = (arrival.origin.peer, arrival.proof.fork);
        if !self.options.allow_fork {
            return self.give_up(arrival.origin);
        }
        let current = self.reorganizing.take().filter(|it| it.fork >= fork);
        let work = match current {
            Some(it) if it.fork > fork => {
                self.reorganizing = Some(it);
                return;
            }
            Some(Reorganizing { work: Some(mut work), .. }) if arrival.proof.upgrade.is_none() => {
                log.advance_reorg(&mut work, &arrival.proof).map(|()| work)
            }
            _ if arrival.proof.upgrade.is_some() => log.begin_reorg(&arrival.proof),
            _ => return,
        };
        match work {
            Ok(work) if work.want().is_none() => self.follow(work, log),
            Ok(work) => self.reorganizing = Some(Reorganizing { fork, work: Some(work), lost: None }),
            Err(ProofError::Storage(error)) => self.halt(error),
            Err(error) if error.blames_peer() => {
                self.doubted(peer, &error);
            }
            // Something changed since it was asked: from the start again, but not for ever.
            Err(_) => self.refused(peer),
        }
    }

    fn follow<S: Storage>(&mut self, work: Reorg, log: &mut Log<S>) {
        let before = log.length();
        let since = work.ancestors();
        match log.finish_reorg(work, self.options.durability) {
            Ok(_) => {}
            Err(ProofError::Storage(error)) => return self.halt(error),
            Err(_) => return,
        }
        self.forget_tree();
        for peer in self.peers.values_mut() {
            peer.announcements.went(since, before);
            peer.pushed = 0;
        }
        for part in self.wants.spans.iter_mut().flat_map(|span| &mut span.parts) {
            part.start = part.start.min(since);
            part.cursor = part.start;
        }
        self.events.push_back(Event::Upgraded { fork: log.fork(), length: log.length(), since });
        self.changed(log);
    }
}
