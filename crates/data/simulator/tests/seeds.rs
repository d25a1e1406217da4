//! Two hundred worlds. A seed that fails is printed: `cargo xtask torture db --seed N` plays it again.

use cloudpal_simulator::{Flaw, History, Trouble, play, play_with};

const STEPS: u64 = 150;

#[test]
fn two_hundred_worlds_come_to_the_same_view_as_the_model() {
    let (mut entries, mut conflicts, mut copies, mut loads, mut forgotten) = (0, 0, 0, 0, 0);
    let mut failed = Vec::new();
    for seed in 0..200 {
        match play(seed, STEPS, History::of(seed)) {
            Ok(verdict) => {
                loads += verdict.counts.loads;
                forgotten += verdict.counts.forgotten;
                entries += verdict.entries;
                conflicts += verdict.conflicts;
                copies += verdict.copies;
            }
            Err(error) => {
                failed.push(format!("seed {seed}: {error} {:?}", std::error::Error::source(&error)))
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // Otherwise nothing was shown.
    let seen = format!(
        "{entries} entries, {conflicts} conflicts, {copies} copies, {loads} loads, {forgotten} blocks forgotten"
    );
    assert!(entries > 8_000 && conflicts > 800 && copies >= 600, "{seen}");
    assert!(loads > 500 && forgotten > 2_500, "{seen}");
}

/// Seeds of the ten thousand that failed once: who admits behind a cut was not spoken of, so others waited for his writers for ever
/// (5240); what the judge did not take for lawful: a writer whose manager lost the say (379), a cut within an entry (2474, 3654, 8794),
/// a block that was only on a disk that was restored (6911).
#[test]
fn worlds_that_failed_once_do_not_any_more() {
    for seed in [379, 2474, 3654, 5240, 6911, 8794] {
        play(seed, STEPS, History::Kept).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    // A device that was to carry a record while it waited for the contents of a checkpoint.
    play(4023, STEPS, History::Forgotten).unwrap();
}

#[test]
fn a_block_withheld_or_lost_is_noticed() {
    let withheld = (0..5)
        .filter(|seed| matches!(play_with(Flaw::BlockWithheld, *seed, STEPS), Err(Trouble::Diverged(_))));
    assert!(withheld.count() > 0);
    let lost =
        (0..5).filter(|seed| matches!(play_with(Flaw::BlockLost, *seed, STEPS), Err(Trouble::Lost(_))));
    assert!(lost.count() > 0);
}
