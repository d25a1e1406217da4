//! WireGuard configurations: what is read can be written and read again.
#![no_main]
use cloudpal_plan::conf::ClientConf;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(conf) = ClientConf::parse(text) {
        ClientConf::parse(&conf.render()).expect("what was written can be read");
    }
});
