//! What is measured, and what it must reach.

use crate::run::Side;

/// What a row counts in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things done in a second.
    PerSecond,
    /// MiB in a second, of things of so many bytes.
    MibPerSecond(u64),
    /// Milliseconds for all; less is better.
    Milliseconds,
}

/// How one variant of a row is done.
#[derive(Clone)]
pub enum Way {
    /// One process.
    Alone(Side),
    /// One process serves, the other fetches.
    Between { server: Side, client: Side },
}

/// One variant beside the one it is compared with.
#[derive(Clone)]
pub struct Variant {
    /// Added to the row's name; empty for the main one.
    pub suffix: &'static str,
    /// How it is done.
    pub way: Way,
    /// The ratio that it must reach.
    pub at_least: f64,
    /// Whether its memory must be at or below the other's: between ours it must; with npm at one end there is nothing to compare.
    pub memory: Memory,
}

/// Whether memory is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// At or below the other side's.
    Compared,
    /// Shown only.
    Shown,
}

/// A piece of work in its variants. Each variant is a row of the report.
pub struct Work {
    /// Its name without the unit.
    pub name: &'static str,
    /// What it counts in.
    pub unit: Unit,
    /// Done once for each side before: task and arguments.
    pub prepare: Option<(&'static str, Vec<u64>)>,
    /// What is measured: task and arguments.
    pub measure: (&'static str, Vec<u64>),
    /// What every variant is compared with.
    pub theirs: Way,
    /// Arguments for the other side, where it does less of the same.
    pub theirs_amount: Option<Vec<u64>>,
    /// The variants.
    pub ours: Vec<Variant>,
}

/// Bytes of the small blocks.
const SMALL: u64 = 100;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// All rows. `scale` divides how much is done, for a quick look.
pub fn all(scale: u64) -> Vec<Work> {
    let n = |count: u64| (count / scale).max(1000.min(count));
    vec![
        alone("append_single", Unit::PerSecond, None, ("append_single", vec![n(20_000)]), 3.0),
        alone("append_1000", Unit::PerSecond, None, ("append_1000", vec![n(500_000)]), 3.0),
        alone(
            "random_get",
            Unit::PerSecond,
            Some(("fill", vec![100_000, SMALL])),
            ("random_get", vec![n(50_000), 100_000]),
            3.0,
        ),
        replicate("replicate_64mib_of_64kib", Unit::MibPerSecond(64 * KIB), vec![1024, 64 * KIB]),
        replicate("replicate_100b_blocks", Unit::PerSecond, vec![n(100_000), SMALL]),
        alone("bee_put", Unit::PerSecond, None, ("bee_put", vec![n(10_000)]), 3.0),
        alone(
            "bee_random_get",
            Unit::PerSecond,
            Some(("bee_put", vec![10_000])),
            ("bee_get", vec![n(10_000), 10_000]),
            3.0,
        ),
        alone("drive_put_1mib", Unit::MibPerSecond(MIB), None, ("drive_put", vec![100, MIB]), 1.0),
        drive_get("drive_get_1mib", Unit::MibPerSecond(MIB), vec![100, MIB]),
        alone("drive_put_1kib", Unit::PerSecond, None, ("drive_put", vec![n(10_000), KIB]), 1.0),
        drive_get("drive_get_1kib", Unit::PerSecond, vec![n(10_000), KIB]),
        alone(
            "open_store_of_1000_logs",
            Unit::Milliseconds,
            Some(("fill_store", vec![1000])),
            ("open_store", vec![1000]),
            1.0,
        ),
        durable("append_single_durable", ("append_single_durable", vec![n(2_000)]), 0.0),
        durable("append_16_writers_durable", ("append_writers_durable", vec![n(16_000), 16]), 0.7),
        durable("append_1000_durable", ("append_1000_durable", vec![n(200_000)]), 0.7),
    ]
}

fn alone(
    name: &'static str,
    unit: Unit,
    prepare: Option<(&'static str, Vec<u64>)>,
    measure: (&'static str, Vec<u64>),
    at_least: f64,
) -> Work {
    let ours = Variant { suffix: "", way: Way::Alone(Side::Ours), at_least, memory: Memory::Compared };
    Work {
        name,
        unit,
        prepare,
        measure,
        theirs: Way::Alone(Side::Npm),
        theirs_amount: None,
        ours: vec![ours],
    }
}

fn drive_get(name: &'static str, unit: Unit, amount: Vec<u64>) -> Work {
    alone(name, unit, Some(("drive_put", amount.clone())), ("drive_get", amount), 1.0)
}

/// Synced writes beside the engine alone doing the same ones. With one writer and one block to a sync ours waits for
/// two files, its second place being one; 16 writers share their syncs, and so do 1,000 blocks in one call.
fn durable(name: &'static str, measure: (&'static str, Vec<u64>), at_least: f64) -> Work {
    let ours = Variant { suffix: "", way: Way::Alone(Side::Ours), at_least, memory: Memory::Shown };
    Work {
        name,
        unit: Unit::PerSecond,
        prepare: None,
        measure,
        theirs: Way::Alone(Side::Fjall),
        theirs_amount: None,
        ours: vec![ours],
    }
}

fn replicate(name: &'static str, unit: Unit, amount: Vec<u64>) -> Work {
    let between = |server, client| Way::Between { server, client };
    let variant = |suffix, way, at_least, memory| Variant { suffix, way, at_least, memory };
    Work {
        name,
        unit,
        prepare: Some(("fill", amount.clone())),
        measure: ("fetch", amount),
        theirs: between(Side::Npm, Side::Npm),
        theirs_amount: None,
        ours: vec![
            variant("", between(Side::Ours, Side::Ours), 5.0, Memory::Compared),
            variant("_ours_to_npm", between(Side::Ours, Side::Npm), 1.0, Memory::Shown),
            variant("_npm_to_ours", between(Side::Npm, Side::Ours), 1.0, Memory::Shown),
        ],
    }
}

impl Unit {
    /// The end of a figure's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Unit::PerSecond => "per_s",
            Unit::MibPerSecond(_) => "mib_s",
            Unit::Milliseconds => "ms",
        }
    }

    /// The figure of a run.
    pub fn figure(self, count: u64, seconds: f64) -> f64 {
        match self {
            Unit::PerSecond => count as f64 / seconds,
            Unit::MibPerSecond(size) => (count * size) as f64 / MIB as f64 / seconds,
            Unit::Milliseconds => seconds * 1000.0,
        }
    }

    /// How many times better `ours` is.
    pub fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Unit::Milliseconds => theirs / ours,
            _ => ours / theirs,
        }
    }
}
