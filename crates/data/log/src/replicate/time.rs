use super::Replicator;
use super::event::PeerId;
use super::peer::Standing;
use std::time::Duration;

/// How long a peer may owe an answer before what it was asked is asked of others.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

impl Replicator {
    /// When to call [`handle_timeout`](Self::handle_timeout) next, whatever else happens until then.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let owing = self.peers.values().filter(|peer| !peer.asked.is_empty());
        let owed = owing.map(|peer| peer.heard + PATIENCE);
        owed.chain(self.lost_until()).chain(self.doubted_until()).min()
    }

    /// Gives up on peers that have owed an answer for too long, which may still answer and then count again; and asks those
    /// again whose proofs were wrong a while ago.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.forgive(now);
        if self.lost_until().is_some_and(|until| until <= now) {
            self.wake_all();
        }
        let late = |heard: Duration| now.saturating_sub(heard) >= PATIENCE;
        let silent: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| !peer.asked.is_empty() && late(peer.heard))
            .map(|(id, _)| *id)
            .collect();
        for id in silent {
            self.take_back(id);
            if let Some(peer) = self.peers.get_mut(&id) {
                if peer.standing == Standing::Good {
                    peer.standing = Standing::Stalled;
                }
                peer.window.collapse();
            }
            self.wake_all();
        }
    }
}
