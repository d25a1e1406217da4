use super::Replicator;
use super::event::{Event, Misbehaviour, PeerId};
use super::peer::Peer;
use crate::wire::{Data, INVALID_REQUEST, Message, NO_REASON, NOT_AVAILABLE, Request};
use crate::{Log, Proof, ProofRequest, RequestError, Storage};
use std::collections::VecDeque;

/// Requests of one peer that may wait. JS asks for at most 512 at a time, we for at most 4096.
const MOST_WAITING: usize = 16_384;
/// Senseless requests after which a peer is told off (JS: `MAX_INVALID_REQUESTS`).
const MOST_BAD: u64 = 64;

/// Requests of a peer that wait to be answered. Answers are made only when the stream takes them.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    urgent: VecDeque<Request>,
    usual: VecDeque<Request>,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.urgent.len() + self.usual.len()
    }

    pub fn push(&mut self, request: Request) {
        if request.priority > 0 { self.urgent.push_back(request) } else { self.usual.push_back(request) }
    }

    pub fn cancel(&mut self, id: u64) {
        for queue in [&mut self.urgent, &mut self.usual] {
            // What is cancelled is mostly among the last that came.
            if let Some(place) = queue.iter().rposition(|request| request.id == id) {
                queue.remove(place);
            }
        }
    }

    fn pop(&mut self) -> Option<Request> {
        self.urgent.pop_front().or_else(|| self.usual.pop_front())
    }
}

impl Replicator {
    pub(super) fn on_request(&mut self, id: PeerId, request: Request) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.queue.len() >= MOST_WAITING {
            return self.misbehaved(id, Misbehaviour::TooManyRequests);
        }
        peer.queue.push(request);
        self.wake(id);
    }

    /// The answer to the next request that waits.
    pub(super) fn serve<S: Storage>(&mut self, id: PeerId, log: &Log<S>) -> Option<Message> {
        let peer = self.peers.get_mut(&id)?;
        while let Some(block) = peer.push.pop_front() {
            if let Some(message) = push(peer, block, log) {
                return Some(message);
            }
        }
        let request = peer.queue.pop()?;
        if self.frozen {
            if request.id == 0 {
                self.events.push_back(Event::Finished { peer: id });
            } else {
                return Some(Message::NoData { request: request.id, reason: NOT_AVAILABLE });
            }
        }
        let reason = match log.proof(&request.proof) {
            Ok(proof) => return Some(sent(peer, request.id, proof)),
            Err(RequestError::Invalid(_)) => {
                peer.traffic.bad_requests += 1;
                let bad = peer.traffic.bad_requests;
                if bad == MOST_BAD {
                    self.misbehaved(id, Misbehaviour::BadRequests(bad));
                }
                INVALID_REQUEST
            }
            Err(RequestError::Storage(error)) => {
                self.events.push_back(Event::Halted { error });
                NOT_AVAILABLE
            }
            Err(error) => match only_manifest(&request, log) {
                Some(proof) => return Some(sent(peer, request.id, proof)),
                None => unavailable(&request, &error, log),
            },
        };
        Some(Message::NoData { request: request.id, reason })
    }
}

fn sent(peer: &mut Peer, request: u64, proof: Proof) -> Message {
    if let Some(block) = &proof.block {
        peer.traffic.blocks_out += 1;
        peer.traffic.bytes_out += block.value.len() as u64;
    }
    Message::Data(Box::new(Data { request, proof }))
}

/// Why there is no answer. A cut or cleared log leaves many requests behind that made sense when they were sent.
fn unavailable<S: Storage>(request: &Request, error: &RequestError, log: &Log<S>) -> u64 {
    let gone = request.proof.block.is_some_and(|block| !log.has(block.index));
    if gone || matches!(error, RequestError::Fork { .. }) { NO_REASON } else { NOT_AVAILABLE }
}

/// A peer that has no manifest can verify nothing, so it gets that even when there is nothing else for it.
fn only_manifest<S: Storage>(request: &Request, log: &Log<S>) -> Option<Proof> {
    if !request.proof.manifest {
        return None;
    }
    let proof = ProofRequest { fork: log.fork(), manifest: true, ..ProofRequest::default() };
    log.proof(&proof).ok().filter(|proof| proof.manifest.is_some())
}

/// A block that the peer did not ask for, with what it takes to bring it that far.
fn push<S: Storage>(peer: &mut Peer, index: u64, log: &Log<S>) -> Option<Message> {
    let remote =
        peer.remote.filter(|remote| remote.allow_push && remote.downloading && remote.fork == log.fork())?;
    if peer.have.contains(index) || index >= log.length() {
        return None;
    }
    let request = super::push::request(peer, index, remote.length, log);
    let proof = log.proof(&request).ok()?;
    peer.pushed = peer.pushed.max(log.length());
    Some(sent(peer, 0, proof))
}
