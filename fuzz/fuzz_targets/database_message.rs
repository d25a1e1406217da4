//! Messages to a database that is served: each is requests or is refused, and none takes more memory than its bytes.
#![no_main]
use bytes::Bytes;
use cloudpal_serve::wire::{self, MAX_FRAMES};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(requests) = wire::parse(&Bytes::copy_from_slice(bytes)) {
        assert!(requests.len() <= MAX_FRAMES.min(bytes.len()));
    }
});
