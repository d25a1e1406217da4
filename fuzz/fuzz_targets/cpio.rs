//! Archives that the image reader meets.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = cloudpal_image::cpio::read(bytes);
});
