//! What is measured of the multi-writer database, and what it must reach.
//!
//! LevelDB is npm's `classic-level`; several writers are npm's `autobase` with `hyperbee`. Relaxed writes stand beside `sync: false`,
//! durable ones beside `sync: true`, in batches of the same sizes. autobase is given fewer operations, as it gets slower with more.

use crate::rows::{Memory, Unit, Variant, Way, Work};
use crate::run::Side;

/// All rows. `scale` divides how much is done, for a quick look.
pub fn all(scale: u64) -> Vec<Work> {
    let n = |count: u64| (count / scale).max(1000.min(count));
    let length = n(500_000);
    let fill = Some(("db_put", vec![length, 1000, 0]));
    let mut rows = vec![
        beside("db_put_single", Side::Npm, None, ("db_put", vec![n(20_000), 1, 0]), 0.7),
        beside("db_put_single_durable", Side::Npm, None, ("db_put", vec![n(3_000), 1, 1]), 0.7),
        beside("db_put_1000", Side::Npm, None, ("db_put", vec![length, 1000, 0]), 0.7),
        beside("db_put_1000_durable", Side::Npm, None, ("db_put", vec![n(200_000), 1000, 1]), 0.7),
        beside("db_put_1000_beside_fjall", Side::Fjall, None, ("db_put", vec![length, 1000, 0]), 0.3),
        beside(
            "db_put_1000_durable_beside_fjall",
            Side::Fjall,
            None,
            ("db_put", vec![n(200_000), 1000, 1]),
            0.3,
        ),
        beside("db_random_get", Side::Npm, fill.clone(), ("db_get", vec![n(50_000), length]), 0.7),
        beside(
            "db_random_get_beside_fjall",
            Side::Fjall,
            fill.clone(),
            ("db_get", vec![n(50_000), length]),
            0.0,
        ),
        beside(
            "db_scan_100000",
            Side::Npm,
            Some(("db_put", vec![100_000, 1000, 0])),
            ("db_scan", vec![10, 100_000]),
            0.7,
        ),
        beside("db_scan_beside_fjall", Side::Fjall, fill, ("db_scan", vec![2, length]), 0.0),
    ];
    for (writers, own, equal) in [
        (2, "db_merge_2_writers", "db_merge_2_writers_by_1000"),
        (5, "db_merge_5_writers", "db_merge_5_writers_by_1000"),
    ] {
        rows.push(merge(own, vec![writers, n(100_000), 1], vec![writers, 1_000, 1], 100.0));
        rows.push(merge(equal, vec![writers, n(100_000), 1000], vec![writers, 20_000, 1000], 20.0));
    }
    rows
}

fn beside(
    name: &'static str,
    other: Side,
    prepare: Option<(&'static str, Vec<u64>)>,
    measure: (&'static str, Vec<u64>),
    at_least: f64,
) -> Work {
    let memory = if other == Side::Npm { Memory::Compared } else { Memory::Shown };
    let ours = Variant { suffix: "", way: Way::Alone(Side::Ours), at_least, memory };
    Work {
        name,
        unit: Unit::PerSecond,
        prepare,
        measure,
        theirs: Way::Alone(other),
        theirs_amount: None,
        ours: vec![ours],
    }
}

fn merge(name: &'static str, ours: Vec<u64>, theirs: Vec<u64>, at_least: f64) -> Work {
    let variant = Variant { suffix: "", way: Way::Alone(Side::Ours), at_least, memory: Memory::Shown };
    Work {
        name,
        unit: Unit::PerSecond,
        prepare: None,
        measure: ("db_merge", ours),
        theirs: Way::Alone(Side::Npm),
        theirs_amount: Some(theirs),
        ours: vec![variant],
    }
}
