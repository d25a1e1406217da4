//! Two hundred worlds. A seed that fails is printed: `cargo xtask torture db --seed N` plays it again.

use cloudpal_simulator::play;

#[test]
fn two_hundred_worlds_come_to_the_same_view_as_the_model() {
    let (mut entries, mut conflicts) = (0, 0);
    for seed in 0..200 {
        match play(seed, 150) {
            Ok(verdict) => {
                entries += verdict.entries;
                conflicts += verdict.conflicts;
            }
            Err(error) => panic!("seed {seed}: {error} {:?}", std::error::Error::source(&error)),
        }
    }
    // Otherwise nothing was shown.
    assert!(entries > 4_000 && conflicts > 100, "{entries} entries, {conflicts} conflicts");
}
