//! Bodies of requests to the host.
#![no_main]
use cloudpal_protocol::api::{AddCredit, CreatePal, Relay, ReturnTickets};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let _ = serde_json::from_slice::<CreatePal>(body);
    let _ = serde_json::from_slice::<AddCredit>(body);
    let _ = serde_json::from_slice::<Relay>(body);
    let _ = serde_json::from_slice::<ReturnTickets>(body);
});
