//! Any bytes as each message: what is read is written again and read the same.
#![no_main]
use bytes::Bytes;
use cloudpal_log::wire::{Handshake, Message};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, payload)) = bytes.split_first() else { return };
    let payload = Bytes::copy_from_slice(payload);
    if let Ok(handshake) = Handshake::decode(&payload) {
        let mut again = Vec::new();
        handshake.encode(&mut again);
        assert_eq!(Handshake::decode(&again), Ok(handshake));
    }
    let kind = u64::from(kind % 10);
    if let Ok(Some(message)) = Message::decode(kind, &payload) {
        let mut again = Vec::new();
        message.encode(&mut again);
        assert_eq!(again.len(), message.encoded_len());
        assert_eq!(message.kind(), kind);
        assert_eq!(Message::decode(kind, &again.into()), Ok(Some(message)));
    }
});
