//! Bytes from a guest, cut anywhere: every whole frame is read or refused, nothing panics.
#![no_main]
use cloudpal_protocol::frame::Decoder;
use cloudpal_protocol::guest::{ToGuest, ToHost};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for cut in [0, bytes.len() / 2, bytes.len()] {
        let (mut host, mut guest) = (Decoder::default(), Decoder::default());
        for part in [&bytes[..cut], &bytes[cut..]] {
            host.extend(part);
            while host.pop::<ToHost>().is_some() {}
            guest.extend(part);
            while guest.pop::<ToGuest>().is_some() {}
        }
    }
});
