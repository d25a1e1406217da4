//! Manifests and signatures from a peer: read or refused, and what is read is written back as it was hashed.
#![no_main]
use cloudpal_log::{Auth, Manifest, Tree};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = Manifest::decode(bytes) else { return };
    assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
    let auth = Auth::new(manifest.key(), manifest).expect("a log can have any manifest that is read");
    // The same bytes as a signature: nobody signed, so it never holds, except over what a prologue says.
    let unsigned = auth.manifest().prologue.is_none();
    assert!(!(unsigned && auth.verify(&Tree::empty(0), bytes)));
});
