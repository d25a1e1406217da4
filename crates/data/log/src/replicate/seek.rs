use super::Replicator;
use super::event::{Event, PeerId};
use super::wants::SeekWant;
use crate::{HashRequest, Log, ProofRequest, Seek, SeekRequest, Storage, flat};

impl Replicator {
    /// Tells which bytes have been found.
    pub(super) fn progress_seeks<S: Storage>(&mut self, log: &Log<S>) {
        let Replicator { wants, events, .. } = self;
        wants.seeks.retain_mut(|seek| match log.seek(seek.bytes) {
            Ok(Seek::Found { index, offset }) => {
                events.push_back(Event::Found { want: seek.id, index, offset });
                false
            }
            Ok(Seek::Within(_)) => {
                seek.beyond = false;
                true
            }
            Ok(Seek::Past) => {
                seek.beyond = true;
                true
            }
            Err(_) => true,
        });
    }

    /// The way to a byte: the hash of some block near it, with the nodes that lead there.
    pub(super) fn ask_seek<S: Storage>(&mut self, id: PeerId, log: &Log<S>) -> Option<ProofRequest> {
        let peer = self.peers.get(&id)?;
        let end = peer.valid_end(log.fork(), log.length());
        let free = |seek: &&mut SeekWant| seek.asked.is_none() && !seek.beyond && !seek.refused.contains(&id);
        for seek in self.wants.seeks.iter_mut().filter(free) {
            let Ok(Seek::Within(blocks)) = log.seek(seek.bytes) else { continue };
            if blocks.is_empty() || blocks.end > end {
                continue;
            }
            // Of its own blocks it has all nodes for certain; npm cuts the connection when one is not there.
            let Some(block) = peer.have.next_in(&blocks) else { continue };
            // The node above all of them is held; every node below it leads on.
            let root = blocks.start + blocks.end - 1;
            let hash = HashRequest { index: 2 * block, nodes: u64::from(flat::depth(root)) };
            seek.asked = Some((id, hash));
            return Some(ProofRequest {
                fork: log.fork(),
                hash: Some(hash),
                seek: peer.seeks.then_some(SeekRequest { bytes: seek.bytes, padding: log.padding() }),
                ..ProofRequest::default()
            });
        }
        None
    }

    /// An answer about a byte came or will not come: ask again if it is still looked for.
    pub(super) fn seek_over(&mut self, id: PeerId, request: HashRequest) {
        for seek in self.wants.seeks.iter_mut().filter(|it| it.asked == Some((id, request))) {
            seek.asked = None;
        }
    }

    /// A peer will not tell about a byte: others are asked.
    pub(super) fn seek_refused(&mut self, id: PeerId, request: HashRequest) {
        for seek in self.wants.seeks.iter_mut().filter(|it| it.asked == Some((id, request))) {
            seek.refused.insert(id);
        }
    }

    /// A peer told of new blocks: it may know now where a byte is.
    pub(super) fn seek_anew(&mut self, id: PeerId) {
        for seek in &mut self.wants.seeks {
            seek.refused.remove(&id);
        }
    }
}
