//! First messages of an owner session, as anybody who reaches the host can send them.
#![no_main]
use cloudpal_core::{AgreementKey, AgreementSecret, PalId, Secret};
use cloudpal_protocol::channel::PalHandshake;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let key = AgreementSecret::from_secret(&Secret::new([1; 32]));
    let (first, last) = bytes.split_at(bytes.len().min(32));
    let owner = AgreementKey::from_bytes([2; 32]);
    if let Ok((handshake, _)) = PalHandshake::answer(PalId::from_random([3; 16]), &key, owner, first) {
        assert!(handshake.finish(last).is_err(), "nobody but the owner may finish");
    }
});
