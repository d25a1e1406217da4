//! A peer that may send anything, frame by frame, to a connection with one log, and through it to the log's replicator: nothing
//! panics, and the log keeps only what its owner signed.
#![no_main]
use bytes::Bytes;
use cloudpal_log::replicate::{Connection, ConnectionEvent, Options, Order, Replicator};
use cloudpal_log::wire::{Handshake, Message, Role, capability};
use cloudpal_log::{Create, Durability, KeyPair, Log, MemoryStorage};
use std::time::Duration;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let key_pair = KeyPair::from_seed(&[1; 32]);
    let create = Create::single(key_pair.public_key());
    let mut log = Log::create(MemoryStorage::new(), create).expect("new").with_key_pair(key_pair);
    log.append(&[Bytes::from_static(b"a"), Bytes::from_static(b"b")], Durability::Relaxed).expect("memory");
    let (hash, length) = (log.tree_hash(), log.length());
    let key = *log.key();
    let mut replicator = Replicator::new(Options::default());
    replicator.want(0..u64::MAX, Order::Linear, &log);
    let mut connection = Connection::new(Role::Initiator, [7; 64]);
    connection.open(&key);
    // The peer knows the key: it opens the channel as it should, and then anything may follow.
    let mut open = vec![0, 1, 1, 15];
    open.extend_from_slice(b"hypercore/alpha");
    open.push(32);
    open.extend_from_slice(log.discovery_key());
    Handshake { seeks: true, capability: capability(Role::Responder, &key, &[7; 64]) }.encode(&mut open);
    let mut frames = vec![Bytes::from(open)];
    let mut rest = bytes;
    while let Some((length, tail)) = rest.split_first() {
        let (frame, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        frames.push(Bytes::copy_from_slice(frame));
        rest = tail;
    }
    for (tick, frame) in frames.iter().enumerate() {
        let now = Duration::from_millis(tick as u64);
        if connection.handle_frame(frame).is_err() {
            return;
        }
        while let Ok(Some(event)) = connection.poll_event() {
            match event {
                ConnectionEvent::Opened { channel, seeks } => {
                    connection.set_peer(channel, replicator.join(seeks, now, &log));
                }
                ConnectionEvent::Message { channel, message } => {
                    let Some(peer) = connection.peer(channel) else { continue };
                    replicator.receive(peer, message, now, &mut log);
                }
                ConnectionEvent::Wanted { discovery_key } => connection.refuse(&discovery_key),
                _ => {}
            }
        }
        replicator.settle(now, &mut log);
        let peers: Vec<_> = replicator.peers().collect();
        for peer in peers {
            for _ in 0..64 {
                let Some(message) = replicator.poll(peer, now, &log) else { break };
                let mut out = Vec::new();
                message.encode(&mut out);
                assert!(Message::decode(message.kind(), &out.into()).is_ok());
            }
        }
        assert_eq!((log.tree_hash(), log.length()), (hash, length));
    }
});
