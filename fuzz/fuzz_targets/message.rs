//! Frames that are whole, with any body: what is inside is the hostile part.
#![no_main]
use cloudpal_protocol::frame::{Decoder, encode, wrap};
use cloudpal_protocol::guest::ToHost;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let Ok(frame) = wrap(body) else { return };
    let mut decoder = Decoder::default();
    decoder.extend(&frame);
    let message = decoder.pop::<ToHost>().expect("a whole frame is read or refused");
    if let Ok(message) = message {
        encode(&message).expect("what was read can be written");
    }
});
