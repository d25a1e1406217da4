//! Datagrams to a sleeping pal: none of these may ring, as none was made with the pal's key.
#![no_main]
use cloudpal_core::{AgreementKey, Secret};
use cloudpal_plan::wake::{Bell, Verdict};

libfuzzer_sys::fuzz_target!(|datagrams: Vec<Vec<u8>>| {
    let mut bell = Bell::new(&AgreementKey::from_bytes([7; 32]), Secret::new([8; 32]), 0);
    bell.fall_asleep(&[], &[]);
    for (at, datagram) in datagrams.iter().enumerate() {
        let verdict = bell.datagram(at as u64, ([192, 0, 2, 1], 9).into(), datagram);
        assert!(matches!(verdict, Verdict::Drop(_)), "{verdict:?}");
    }
});
