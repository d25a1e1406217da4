//! The doorbell's memory as it lies on disk.
#![no_main]
use cloudpal_core::{AgreementKey, Secret};
use cloudpal_plan::wake::Bell;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut bell = Bell::new(&AgreementKey::from_bytes([7; 32]), Secret::new([8; 32]), 0);
    if bell.import(bytes).is_ok() {
        let again = bell.export();
        bell.import(&again).expect("what was exported can be imported");
    }
});
