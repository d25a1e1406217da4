//! Blocks that peers get without asking: those who say so in their sync hear of new blocks by getting them.

use super::peer::Peer;
use super::{Replicator, path};
use crate::{BlockRequest, Log, ProofRequest, Storage, UpgradeRequest};
use std::ops::Range;

/// Blocks that wait to be pushed to a peer; one that is further behind asks for the rest.
const MOST_WAITING: usize = 1024;

impl Replicator {
    /// Sends new blocks to the peers that take them unasked.
    pub(super) fn push_new(&mut self, blocks: Range<u64>, fork: u64) {
        let takers: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                peer.remote.is_some_and(|it| it.allow_push && it.downloading && it.fork == fork)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in takers {
            if let Some(peer) = self.peers.get_mut(&id) {
                let room = MOST_WAITING.saturating_sub(peer.push.len());
                peer.push.extend(blocks.clone().take(room));
            }
            self.wake(id);
        }
    }
}

/// The request that the peer would have made for block `index`.
pub(super) fn request<S: Storage>(peer: &Peer, index: u64, remote_length: u64, log: &Log<S>) -> ProofRequest {
    let known = remote_length.max(peer.pushed).min(log.length());
    let fork = log.fork();
    let manifest = remote_length == 0;
    if index < known {
        let nodes = path::missing(2 * index, known, |_| false);
        return ProofRequest {
            fork,
            block: Some(BlockRequest { index, nodes }),
            manifest,
            ..ProofRequest::default()
        };
    }
    ProofRequest {
        fork,
        block: Some(BlockRequest { index, nodes: 0 }),
        upgrade: Some(UpgradeRequest { start: known, length: log.length() - known }),
        manifest,
        ..ProofRequest::default()
    }
}
