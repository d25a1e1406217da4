use super::Replicator;
use super::asked::{Pending, Trust};
use super::event::PeerId;
use super::peer::Standing;
use crate::Proof;
use crate::wire::Data;
use std::time::Duration;

/// A proof that came and was not looked at yet.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub origin: Origin,
    pub proof: Proof,
    /// The hash of its block, where that was found beforehand.
    pub leaf: Option<[u8; 32]>,
}

/// Where a proof came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub peer: PeerId,
    /// The request's number; 0 for what was not asked for.
    pub id: u64,
    /// None for what was not asked for.
    pub asked: Option<Pending>,
}

/// Proofs that wait for the next [`settle`](Replicator::settle).
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    pub waiting: Vec<Arrival>,
    pub bytes: usize,
    /// They need nodes that an answer still on its way will bring.
    pub early: Vec<Arrival>,
}

impl Replicator {
    /// Notes a proof and returns how many bytes wait.
    pub(super) fn on_data(&mut self, id: PeerId, data: Data, leaf: Option<[u8; 32]>, now: Duration) -> usize {
        let Some(peer) = self.peers.get_mut(&id) else { return self.arrived.bytes };
        let Data { request, proof } = data;
        let asked = peer.asked.take(request);
        if let Some(pending) = &asked {
            peer.window.answered(pending.at, now);
            peer.heard = now;
            if peer.standing == Standing::Stalled {
                peer.standing = Standing::Good;
            }
        } else if request != 0 {
            // Taken back meanwhile.
            return self.arrived.bytes;
        }
        self.arrived.bytes += proof.block.as_ref().map_or(0, |block| block.value.len()) + 64;
        let origin = Origin { peer: id, id: request, asked };
        self.arrived.waiting.push(Arrival { origin, proof, leaf });
        self.arrived.bytes
    }

    /// A request will not be answered: what it asked for may be asked of others.
    pub(super) fn undo(&mut self, id: PeerId, pending: Pending) {
        if let Some(block) = pending.proof.block {
            self.release(block.index);
        }
        if pending.proof.upgrade.is_some() && self.upgrading == Some(id) {
            self.upgrading = None;
        }
        if let Some(hash) = pending.proof.hash {
            self.seek_over(id, hash);
        }
    }

    /// Takes back all that a peer was asked for.
    pub(super) fn take_back(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.coming.clear();
        let pending = peer.asked.drain();
        for (request, pending) in pending {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.outbox.push_back(crate::wire::Message::Cancel { request });
            }
            self.undo(id, pending);
        }
        let (gone, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.arrived.early).into_iter().partition(|it| it.origin.peer == id);
        self.arrived.early = kept;
        for arrival in gone {
            self.give_up(arrival.origin);
        }
        self.wake(id);
    }

    /// Whether a proof is what its request asked for.
    pub(super) fn fits(arrival: &Arrival) -> bool {
        let Some(Pending { proof: asked, .. }) = &arrival.origin.asked else { return true };
        let proof = &arrival.proof;
        proof.fork == asked.fork
            && proof.block.as_ref().is_none_or(|it| asked.block.is_some_and(|asked| asked.index == it.index))
            && proof.hash.as_ref().is_none_or(|it| asked.hash.is_some_and(|asked| asked.index == it.index))
            && proof.seek.as_ref().is_none_or(|it| asked.seek.is_some_and(|asked| asked.bytes == it.bytes))
            && (proof.upgrade.is_none() || asked.upgrade.is_some())
    }
}

impl Origin {
    /// Whether it counted on nodes that others were to bring.
    pub fn trusted(&self) -> bool {
        self.asked.is_some_and(|pending| pending.trust == Trust::Coming)
    }
}
