//! A request's signature header: never accepted, whatever it says.
#![no_main]
use cloudpal_protocol::request::Request;

libfuzzer_sys::fuzz_target!(|header: &str| {
    let request = Request { method: "POST", path: "/v1/pals", body: b"{}" };
    assert!(request.check(header, 1_000_000).is_err());
});
