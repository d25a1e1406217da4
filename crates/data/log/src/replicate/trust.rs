//! What a peer does wrong, and how long that is held against it.

use super::Replicator;
use super::event::{Event, Misbehaviour, PeerId};
use super::peer::Standing;
use crate::ProofError;
use std::time::Duration;

/// How long a peer is not asked after its first proof that is not true; twice as long after each further one. npm
/// hypercore 10 can send nodes of a fork that it has cut, until others take their place in its memory or it is started
/// again: a peer is not lost for one of those.
const PENANCE: Duration = Duration::from_millis(500);
/// Never longer than this.
const LONGEST_PENANCE: Duration = Duration::from_secs(64);

impl Replicator {
    /// A peer does not keep to the protocol: it is asked no more.
    pub(super) fn misbehaved(&mut self, id: PeerId, what: Misbehaviour) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.standing = Standing::Outcast;
        }
        self.take_back(id);
        self.events.push_back(Event::Misbehaved { peer: id, what });
    }

    /// A peer sent a proof that is not true: others are asked, and it again later. Whether it was trusted until now: what
    /// it sends beside that one counts no more.
    pub(super) fn doubted(&mut self, id: PeerId, error: &ProofError) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else { return false };
        peer.traffic.bad_proofs += 1;
        if !peer.may_be_asked() {
            return false;
        }
        let penance = PENANCE.saturating_mul(1 << peer.doubts.min(31)).min(LONGEST_PENANCE);
        peer.doubts += 1;
        peer.standing = Standing::Suspect { until: peer.heard + penance };
        peer.window.collapse();
        self.take_back(id);
        let what = Misbehaviour::BadProof(error.to_string());
        self.events.push_back(Event::Misbehaved { peer: id, what });
        true
    }

    /// When the next peer may be asked again.
    pub(super) fn doubted_until(&self) -> Option<Duration> {
        let until = |standing| match standing {
            Standing::Suspect { until } => Some(until),
            _ => None,
        };
        self.peers.values().filter_map(|peer| until(peer.standing)).min()
    }

    /// Lets peers be asked again whose time has come.
    pub(super) fn forgive(&mut self, now: Duration) {
        let due = |standing| matches!(standing, Standing::Suspect { until } if until <= now);
        let ids: Vec<PeerId> =
            self.peers.iter().filter(|(_, peer)| due(peer.standing)).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.standing = Standing::Good;
            }
            self.wake(id);
        }
    }
}
