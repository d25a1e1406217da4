//! Which runs to merge.
//!
//! Runs are tiered: of four runs of about one size, one is made. The oldest run is kept apart, as it is the only one
//! below which nothing lies: when those above it together have grown as large, all become one and deletions go. So a
//! byte is written once at its flush, once for each factor of four between a flush and the whole, and, over time, about
//! twice into the oldest run; dead bytes stay below live ones; and at rest there are three runs a tier at most.

use std::ops::Range;

/// Runs of one tier that are made into one of the next.
const FAN_IN: usize = 4;

/// Bytes of the largest run of the lowest tier.
const LOWEST: u64 = 1024;

/// The places of a group to merge now, if any. `sizes`: bytes of each place, newest first; none where a merge is going
/// on already.
pub(crate) fn choose(sizes: &[Option<u64>]) -> Option<Range<usize>> {
    newest(sizes).or_else(|| oldest(sizes))
}

/// The newest runs, up to a tier that is full.
fn newest(sizes: &[Option<u64>]) -> Option<Range<usize>> {
    let above_oldest = &sizes[..sizes.len().saturating_sub(1)];
    let settled: Vec<u32> = above_oldest.iter().map_while(|size| size.map(tier)).collect();
    let full = |tier: u32| {
        let end = settled.iter().take_while(|of| **of <= tier).count();
        let in_it = settled[..end].iter().filter(|of| **of == tier).count();
        (in_it >= FAN_IN).then_some(0..end)
    };
    (0..=tier(u64::MAX)).find_map(full)
}

/// The oldest run and all above it that are not being merged, once they are as large together.
fn oldest(sizes: &[Option<u64>]) -> Option<Range<usize>> {
    let (oldest, above) = sizes.split_last()?;
    let settled = above.iter().rev().map_while(|size| *size);
    let (count, bytes) = settled.fold((0, 0_u64), |(count, sum), size| (count + 1, sum.saturating_add(size)));
    (count > 0 && bytes >= (*oldest)?).then_some(above.len() - count..sizes.len())
}

fn tier(bytes: u64) -> u32 {
    (bytes / LOWEST).checked_ilog(FAN_IN as u64).map_or(0, |log| log + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flushes of one size until `flushes`, all merges done at once: bytes written for each flushed, most runs at rest.
    fn simulate(flushes: u64, size: u64, distinct: u64) -> (f64, usize, u64) {
        let (mut runs, mut written, mut most) = (Vec::<u64>::new(), 0, 0);
        for _ in 0..flushes {
            runs.insert(0, size);
            written += size;
            while let Some(group) = choose(&runs.iter().map(|size| Some(*size)).collect::<Vec<_>>()) {
                let sum: u64 = runs.drain(group.clone()).sum::<u64>().min(distinct);
                written += sum;
                runs.insert(group.start, sum);
            }
            most = most.max(runs.len());
        }
        (written as f64 / (flushes * size) as f64, most, runs.iter().sum())
    }

    #[test]
    fn little_is_written_and_few_runs_stay() {
        for size in [1_000, 100_000, 4 << 20] {
            let (amplification, runs, _) = simulate(1_000, size, u64::MAX);
            println!("{size}: {amplification:.1}, {runs} runs");
            assert!(amplification < 7.0 && runs <= 16, "{size}: {amplification:.1}, {runs} runs");
            let (amplification, runs, bytes) = simulate(2_000, size, 200 * size);
            println!("{size}: {amplification:.1}, {runs} runs");
            assert!(amplification < 7.0 && runs <= 16, "{size}: {amplification:.1}, {runs} runs");
            assert!(bytes <= 450 * size, "{bytes} of {}", 200 * size);
        }
    }

    #[test]
    fn what_is_being_merged_is_left_alone() {
        let m = 1 << 20;
        let some = |sizes: &[u64]| sizes.iter().map(|size| Some(*size)).collect::<Vec<_>>();
        assert_eq!(choose(&[]), None);
        assert_eq!(choose(&some(&[m])), None);
        assert_eq!(choose(&some(&[m, m])), Some(0..2));
        assert_eq!(choose(&some(&[m, m, m, 100 * m])), None);
        assert_eq!(choose(&some(&[m, m, m, m, 100 * m])), Some(0..4));
        assert_eq!(choose(&[Some(m), Some(m), None, Some(2 * m)]), None);
        assert_eq!(choose(&[Some(m), None, Some(2 * m), Some(2 * m)]), Some(2..4));
        assert_eq!(choose(&[Some(m); 5].into_iter().chain([None]).collect::<Vec<_>>()), Some(0..5));
    }
}
