//! Tickets and vouchers from outside.
#![no_main]
use cloudpal_form::{Ticket, Voucher};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Ticket::parse_list(bytes);
    let _ = Ticket::parse(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Voucher::parse(text);
    }
});
