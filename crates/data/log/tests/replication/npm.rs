//! What npm's peers do and ours do not, played by hand: each of these left one side waiting for ever.

use bytes::Bytes;
use cloudpal_log::replicate::{Event, Misbehaviour, Options, Order, PeerId, Replicator};
use cloudpal_log::wire::{Data, Message, NO_REASON, NOT_AVAILABLE, Request, Span, Sync};
use cloudpal_log::{BlockRequest, Create, Durability, KeyPair, Log, MemoryStorage, Proof, ProofRequest};
use std::time::Duration;

const NOW: Duration = Duration::ZERO;

fn writer(blocks: u64) -> Log<MemoryStorage> {
    let key_pair = KeyPair::from_seed(&[5; 32]);
    let log = Log::create(MemoryStorage::new(), Create::single(key_pair.public_key())).unwrap();
    let mut log = log.with_key_pair(key_pair);
    append(&mut log, blocks);
    log
}

fn append(log: &mut Log<MemoryStorage>, blocks: u64) {
    let fork = log.fork();
    let blocks: Vec<_> =
        (0..blocks).map(|number| Bytes::from(format!("block {number} of fork {fork}"))).collect();
    log.append(&blocks, Durability::Relaxed).unwrap();
}

/// One side of one channel is ours; what the other says is up to the test.
struct Side {
    log: Log<MemoryStorage>,
    replicator: Replicator,
    peer: PeerId,
    now: Duration,
}

impl Side {
    fn new(log: Log<MemoryStorage>) -> Self {
        let mut replicator = Replicator::new(Options::default());
        let peer = replicator.join(true, NOW, &log);
        Side { log, replicator, peer, now: NOW }
    }

    /// A reader that wants all there is and will be, of the same log.
    fn reader() -> Self {
        let mut side =
            Side::new(Log::create(MemoryStorage::new(), Create::remote(*writer(0).key())).unwrap());
        side.replicator.want(0..u64::MAX, Order::Linear, &side.log);
        side
    }

    fn hears(&mut self, message: Message) {
        self.replicator.receive(self.peer, message, self.now, &mut self.log);
        self.replicator.settle(self.now, &mut self.log);
    }

    /// Lets time pass until something is to be done, and gives how much that was.
    fn waits(&mut self) -> Duration {
        let until = self.replicator.poll_timeout().unwrap();
        let waited = until.saturating_sub(self.now);
        self.now = until;
        self.replicator.handle_timeout(until);
        waited
    }

    /// All that it has to say.
    fn says(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.replicator.poll(self.peer, self.now, &self.log)).collect()
    }

    /// The requests among all that it has to say.
    fn asks(&mut self) -> Vec<Request> {
        let request = |message| match message {
            Message::Request(request) => Some(request),
            _ => None,
        };
        self.says().into_iter().filter_map(request).collect()
    }

    /// What it asks is answered out of `source` until it asks nothing more; also what it says beside.
    fn is_answered(&mut self, source: &Log<MemoryStorage>) -> Vec<Message> {
        let mut said = Vec::new();
        loop {
            let messages = self.says();
            if messages.is_empty() {
                return said;
            }
            for message in messages {
                if let Message::Request(request) = &message {
                    let proof = source.proof(&request.proof).unwrap();
                    self.hears(Message::Data(Box::new(Data { request: request.id, proof })));
                }
                said.push(message);
            }
        }
    }
}

/// What a peer with this log says of it to one whose length it knows.
fn sync(log: &Log<MemoryStorage>, remote_length: u64) -> Message {
    Message::Sync(Sync {
        fork: log.fork(),
        length: log.length(),
        remote_length,
        can_upgrade: true,
        uploading: true,
        downloading: true,
        has_manifest: true,
        allow_push: false,
    })
}

const fn range(start: u64, length: u64) -> Message {
    Message::Range { drop: false, start, length }
}

const fn drop_range(start: u64, length: u64) -> Message {
    Message::Range { drop: true, start, length }
}

fn block_request(id: u64, fork: u64, index: u64) -> Message {
    let block = Some(BlockRequest { index, nodes: 0 });
    Message::Request(Request {
        id,
        proof: ProofRequest { fork, block, ..ProofRequest::default() },
        priority: 0,
    })
}

fn reasons(messages: Vec<Message>) -> Vec<u64> {
    let reason = |message| match message {
        Message::NoData { reason, .. } => Some(reason),
        _ => None,
    };
    messages.into_iter().filter_map(reason).collect()
}

/// npm stops asking a peer for ever after 32 answers with a reason, and has more requests than that on their way
/// when a log is cut or cleared.
#[test]
fn requests_that_a_change_overtook_are_refused_without_a_reason() {
    let mut side = Side::new(writer(100));
    side.hears(sync(&writer(0), 0));
    side.says();
    side.log.clear(50..60, Durability::Relaxed).unwrap();
    side.replicator.cleared(50..60, &side.log);
    side.hears(block_request(1, 0, 55));
    assert_eq!(reasons(side.says()), [NO_REASON]);
    side.log.truncate(40, None, Durability::Relaxed).unwrap();
    side.replicator.truncated(100, &side.log);
    side.hears(block_request(2, 0, 10));
    let said = side.says();
    let place = |is: fn(&Message) -> bool| said.iter().position(is);
    let told = place(|message| matches!(message, Message::Sync(sync) if sync.fork == 1));
    assert!(told < place(|message| matches!(message, Message::NoData { .. })), "or it asks the same again");
    assert_eq!(reasons(said), [NO_REASON]);
}

/// npm names the reason also for those.
#[test]
fn a_writer_that_cut_its_log_is_not_held_to_what_it_was_asked_before() {
    let mut source = writer(100);
    let mut side = Side::reader();
    side.hears(sync(&source, 0));
    side.hears(range(0, 100));
    let request = side.asks().remove(0);
    let proof = source.proof(&request.proof).unwrap();
    side.hears(Message::Data(Box::new(Data { request: request.id, proof })));
    let asked = side.asks();
    assert!(asked.len() > 40, "{}", asked.len());
    source.truncate(90, None, Durability::Relaxed).unwrap();
    side.hears(sync(&source, 0));
    for request in asked {
        side.hears(Message::NoData { request: request.id, reason: NOT_AVAILABLE });
    }
    assert_eq!(side.replicator.traffic(side.peer).unwrap().refused, 0);
    side.is_answered(&source);
    assert_eq!((side.log.fork(), side.log.length()), (1, 90));
}

#[test]
fn who_refuses_a_longer_tree_with_a_block_is_asked_for_the_tree_alone() {
    let source = writer(3);
    let mut side = Side::reader();
    side.hears(sync(&source, 0));
    side.hears(range(0, 3));
    let first = side.asks().remove(0);
    assert!(first.proof.block.is_some() && first.proof.upgrade.is_some());
    side.hears(Message::NoData { request: first.id, reason: NOT_AVAILABLE });
    let second = side.asks().remove(0);
    assert!(second.proof.block.is_none() && second.proof.upgrade.is_some());
    // Of the tree alone there is nothing less to ask for, until it says something new.
    side.hears(Message::NoData { request: second.id, reason: NOT_AVAILABLE });
    assert!(side.asks().is_empty());
    side.hears(sync(&source, 0));
    assert_eq!(side.asks().len(), 1);
}

/// npm 10 says nothing of blocks that it believes us to have, so the new ones in the place of those we give up are
/// never told unless they are asked for.
#[test]
fn what_a_peer_has_is_asked_again_in_another_fork() {
    let mut source = writer(4);
    let mut side = Side::reader();
    side.hears(sync(&source, 0));
    side.hears(range(0, 4));
    side.is_answered(&source);
    assert_eq!(side.log.contiguous_length(), 4);
    source.truncate(0, None, Durability::Relaxed).unwrap();
    side.hears(drop_range(0, 4));
    append(&mut source, 3);
    side.hears(sync(&source, 0));
    let said = side.is_answered(&source);
    assert!(said.iter().any(|message| matches!(message, Message::Want(Span { start: 0, .. }))), "{said:?}");
    side.hears(Message::Bitfield { start: 0, bits: Bytes::from_static(&[1, 0, 0, 0]) });
    let said = side.is_answered(&source);
    assert_eq!((side.log.fork(), side.log.length(), side.log.contiguous_length()), (1, 3, 1));
    let given_up = said.iter().position(|message| matches!(message, Message::Range { drop: true, .. }));
    let asked = said.iter().rposition(|message| matches!(message, Message::Want(Span { start: 0, .. })));
    assert!(given_up.is_some() && given_up < asked, "{said:?}");
    side.hears(range(0, 3));
    side.is_answered(&source);
    assert_eq!(side.log.contiguous_length(), 3);
}

#[test]
fn what_a_peer_has_is_asked_again_when_blocks_are_given_up() {
    let source = writer(4);
    let mut side = Side::reader();
    side.hears(sync(&source, 0));
    side.hears(range(0, 2));
    // It has block 2 later than we do, and does not tell.
    side.is_answered(&source);
    let proof = source
        .proof(&ProofRequest { block: Some(BlockRequest { index: 2, nodes: 1 }), ..ProofRequest::default() });
    side.log.apply(&proof.unwrap(), Durability::Relaxed).unwrap();
    side.log.clear(2..3, Durability::Relaxed).unwrap();
    side.replicator.cleared(2..3, &side.log);
    side.replicator.want_block(2, &side.log);
    assert!(side.says().iter().any(|message| matches!(message, Message::Want(_))));
}

/// npm asks for a way into a newer fork only from those that have a block of it.
#[test]
fn blocks_of_a_newer_fork_are_told_to_who_has_those_of_the_older() {
    let mut source = writer(0);
    append(&mut source, 4);
    source.truncate(0, None, Durability::Relaxed).unwrap();
    append(&mut source, 4);
    let mut side = Side::reader();
    // Who reads from us is still in fork 0.
    let old = writer(4);
    let behind = side.replicator.join(true, NOW, &side.log);
    side.replicator.receive(behind, sync(&old, 0), NOW, &mut side.log);
    side.replicator.receive(behind, range(0, 4), NOW, &mut side.log);
    side.hears(sync(&source, 0));
    side.hears(Message::Bitfield { start: 0, bits: Bytes::from_static(&[1, 0, 0, 0]) });
    side.is_answered(&source);
    assert_eq!((side.log.fork(), side.log.count_held(0..4)), (1, 1));
    let told = std::iter::from_fn(|| side.replicator.poll(behind, NOW, &side.log));
    let told: Vec<_> = told.filter(|message| matches!(message, Message::Range { .. })).collect();
    assert_eq!(told, [range(0, 1)]);
    // And once more when it gives up its own, which makes room for them.
    side.replicator.receive(behind, drop_range(0, 4), NOW, &mut side.log);
    let told = std::iter::from_fn(|| side.replicator.poll(behind, NOW, &side.log));
    let told: Vec<_> = told.filter(|message| matches!(message, Message::Bitfield { .. })).collect();
    assert_eq!(told, [Message::Bitfield { start: 0, bits: Bytes::from_static(&[1, 0, 0, 0]) }]);
}

/// A reader of four blocks whose peer has gone into a newer fork and has no block of it yet.
fn before_a_fork() -> (Side, Log<MemoryStorage>) {
    let mut source = writer(4);
    let mut side = Side::reader();
    side.hears(sync(&source, 0));
    side.hears(range(0, 4));
    side.is_answered(&source);
    source.truncate(1, None, Durability::Relaxed).unwrap();
    append(&mut source, 3);
    side.hears(drop_range(0, 4));
    side.hears(sync(&source, 0));
    let tree = side.asks().remove(0);
    let proof = source.proof(&tree.proof).unwrap();
    side.hears(Message::Data(Box::new(Data { request: tree.id, proof })));
    (side, source)
}

/// npm cuts the connection when it is asked for nodes that it does not have.
#[test]
fn a_way_into_a_newer_fork_is_asked_for_by_a_block_that_the_peer_has() {
    let (mut side, source) = before_a_fork();
    let said = side.says();
    assert!(matches!(said[..], [Message::Want(_)]), "{said:?}");
    side.hears(range(2, 1));
    let way = side.asks().remove(0);
    assert_eq!(way.proof.hash.unwrap().index, 4);
    // It may be refused all the same; then the same again brings nothing.
    side.hears(Message::NoData { request: way.id, reason: NOT_AVAILABLE });
    assert!(side.asks().is_empty());
    side.hears(range(1, 1));
    side.is_answered(&source);
    assert_eq!((side.log.fork(), side.log.length()), (1, 4));
}

/// Ours say no and go on, so that copies without blocks follow each other.
#[test]
fn a_way_into_a_newer_fork_is_asked_for_in_the_end_even_of_a_peer_without_blocks() {
    let (mut side, source) = before_a_fork();
    assert!(side.asks().is_empty());
    side.waits();
    let way = side.asks().remove(0);
    let proof = source.proof(&way.proof).unwrap();
    side.hears(Message::Data(Box::new(Data { request: way.id, proof })));
    assert_eq!((side.log.fork(), side.log.length()), (1, 4));
}

/// npm 10 can remember nodes of a fork that it has cut, and sends them with proofs of the newer one.
fn with_nodes_of(older: &Log<MemoryStorage>, proof: &mut Proof) {
    let nodes = proof.block.as_mut().map(|block| &mut block.nodes);
    let nodes = nodes.or(proof.hash.as_mut().map(|hash| &mut hash.nodes)).unwrap();
    let block = Some(BlockRequest { index: 0, nodes: 2 });
    let before = older.proof(&ProofRequest { block, ..ProofRequest::default() }).unwrap().block.unwrap();
    *nodes.iter_mut().find(|node| node.index == 2).unwrap() = before.nodes[0];
    assert_eq!(before.nodes[0].index, 2);
}

#[test]
fn who_sends_a_node_of_an_older_fork_is_asked_again_after_a_while() {
    let older = writer(4);
    let mut source = writer(4);
    source.truncate(0, None, Durability::Relaxed).unwrap();
    append(&mut source, 4);
    let mut side = Side::reader();
    side.hears(sync(&source, 0));
    let tree = side.asks().remove(0);
    let proof = source.proof(&tree.proof).unwrap();
    side.hears(Message::Data(Box::new(Data { request: tree.id, proof })));
    assert_eq!((side.log.fork(), side.log.length()), (1, 4));
    side.hears(sync(&source, 4));
    side.hears(range(0, 1));
    let mut before = Duration::ZERO;
    for _ in 0..3 {
        let block = side.asks().remove(0);
        let mut proof = source.proof(&block.proof).unwrap();
        with_nodes_of(&older, &mut proof);
        side.hears(Message::Data(Box::new(Data { request: block.id, proof })));
        let mut events = std::iter::from_fn(|| side.replicator.poll_event());
        assert!(events.any(|event| matches!(event, Event::Misbehaved { .. })));
        // It may be right by another tree of the same fork: only that is asked at once.
        let conflicts = side.asks();
        assert_eq!(conflicts.iter().map(|request| request.id).collect::<Vec<_>>(), [0]);
        let waited = side.waits();
        assert!(waited > before, "{waited:?} after {before:?}");
        before = waited;
    }
    side.is_answered(&source);
    assert!(side.log.has(0));
}

#[test]
fn a_way_into_a_newer_fork_with_a_node_of_the_older_is_asked_for_again_after_a_while() {
    let older = writer(4);
    let (mut side, source) = before_a_fork();
    side.hears(range(1, 1));
    let way = side.asks().remove(0);
    let mut proof = source.proof(&way.proof).unwrap();
    with_nodes_of(&older, &mut proof);
    side.hears(Message::Data(Box::new(Data { request: way.id, proof })));
    assert!(side.asks().is_empty());
    side.waits();
    side.is_answered(&source);
    assert_eq!((side.log.fork(), side.log.length(), side.log.has(1)), (1, 4, true));
}

#[test]
fn who_answers_what_was_not_asked_is_never_asked_again() {
    let source = writer(4);
    let mut side = Side::reader();
    side.hears(sync(&source, 0));
    side.hears(range(0, 4));
    let request = side.asks().remove(0);
    let mut proof = source.proof(&request.proof).unwrap();
    proof.fork = 7;
    side.hears(Message::Data(Box::new(Data { request: request.id, proof })));
    let event = side.replicator.poll_event();
    assert!(matches!(event, Some(Event::Misbehaved { what: Misbehaviour::WrongAnswer, .. })), "{event:?}");
    side.hears(sync(&source, 0));
    assert!(side.asks().is_empty());
    assert_eq!(side.replicator.poll_timeout(), None);
}
