//! A peer that lies about where a byte is. Here it is played by hand; the session and its log are whole.

use crate::net::Signal;
use crate::{LogOptions, Options, Session, Store, StoreKey, Which};
use bytes::Bytes;
use cloudpal_log::replicate::{Connection, PeerId};
use cloudpal_log::wire::{Data, Message, Request, Role, Sync};
use cloudpal_log::{Create, Durability, Feed, KeyPair, Log, MemoryStorage};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const BLOCKS: u64 = 64;
const MOVED: u64 = 60;

fn source() -> Log<MemoryStorage> {
    let key_pair = KeyPair::from_seed(&[3; 32]);
    let log = Log::create(MemoryStorage::new(), Create::single(key_pair.public_key())).unwrap();
    let mut log = log.with_key_pair(key_pair);
    let blocks: Vec<_> = (0..BLOCKS).map(|number| Bytes::from(vec![1; 100 + number as usize])).collect();
    log.append(&blocks, Durability::Relaxed).unwrap();
    log
}

/// The other end of the one connection that the session's log has.
struct Liar<'a> {
    source: Log<MemoryStorage>,
    session: &'a Session,
    peer: PeerId,
    signal: Arc<Signal>,
    lies: u64,
}

impl<'a> Liar<'a> {
    fn beside(session: &'a Session) -> Self {
        let signal = Arc::<Signal>::default();
        let channel = Connection::new(Role::Initiator, [0; 64]).open(&session.shared.key);
        let peer = session.shared.join(true, session.inner.now(), &signal, channel);
        Liar { source: source(), session, peer, signal, lies: 0 }
    }

    fn says(&self, message: Message) {
        let Session { inner, shared, .. } = self.session;
        shared.deliver(inner, vec![(self.peer, message.into())], inner.now());
    }

    fn says_what_it_has(&self, remote_length: u64) {
        self.says(Message::Sync(Sync {
            fork: 0,
            length: BLOCKS,
            remote_length,
            can_upgrade: true,
            uploading: true,
            downloading: true,
            has_manifest: true,
            allow_push: false,
        }));
        self.says(Message::Range { drop: false, start: 0, length: BLOCKS });
    }

    /// Answers until it is told to stop; gives how often it lied.
    fn answer_until(mut self, over: &AtomicBool) -> u64 {
        self.says_what_it_has(0);
        while !over.load(Ordering::Acquire) {
            let mut heard = Vec::new();
            let Session { inner, shared, .. } = self.session;
            shared.poll(inner, self.peer, inner.now(), &mut |message| {
                heard.push(message);
                false
            });
            if heard.is_empty() {
                self.signal.wait(Duration::from_millis(1));
            }
            for message in heard {
                match message {
                    Message::Request(request) => self.answers(&request),
                    Message::Sync(sync) if sync.length == 0 => self.says_what_it_has(0),
                    _ => {}
                }
            }
        }
        self.lies
    }

    /// Moves bytes from one of two nodes to the other: their parent's hash stays what it is.
    fn answers(&mut self, request: &Request) {
        let mut proof = self.source.proof(&request.proof).unwrap();
        let told = proof.seek.as_mut().map(|seek| &mut seek.nodes);
        let told = told.or(proof.hash.as_mut().map(|hash| &mut hash.nodes));
        if let Some([first, second, ..]) = told.map(Vec::as_mut_slice)
            && first.size > MOVED
        {
            first.size -= MOVED;
            second.size += MOVED;
            self.lies += 1;
        }
        self.says(Message::Data(Box::new(Data { request: request.id, proof })));
    }
}

#[test]
fn a_lying_peer_misleads_no_seek() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &StoreKey::new([1; 32]), Options::default()).unwrap();
    let source = source();
    let options = LogOptions { get_timeout: Some(Duration::from_secs(60)), ..LogOptions::default() };
    let session = store.open_log(Which::Key(*source.key()), options).unwrap();
    let over = AtomicBool::new(false);
    let lies = std::thread::scope(|scope| {
        let liar = scope.spawn(|| Liar::beside(&session).answer_until(&over));
        session.wait_change((0, 0), Duration::from_secs(60));
        let mut offset = 0;
        for index in 0..BLOCKS {
            let found = session.seek(offset + 50);
            assert_eq!(found.unwrap(), (index, 50));
            assert!(session.has(index), "only of a block that is held the place is certain");
            offset += 100 + index;
        }
        over.store(true, Ordering::Release);
        liar.join().unwrap()
    });
    assert!(lies > 0, "nobody was misled");
}
