//! A log that is found by its discovery key alone: one peer announces it on a table of this machine, the other looks
//! it up, connects and takes all of it, and then what is appended later.

use crate::content::Content;
use crate::dice::Dice;
use crate::logs::{Flavour, Make};
use crate::stage::{Cast, Kind, Site, difference};
use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;

/// The one log.
const LOG: &str = "log";

/// Nodes of the table: enough that each learns its own address from several others.
const NODES: usize = 4;

/// How long finding, connecting and hearing of blocks may take together, and bringing them.
const FIND_MS: u64 = 90_000;
const DOWNLOAD_MS: u64 = 60_000;

/// Most blocks that are there from the start, or come later.
const MOST_BLOCKS: u64 = 200;

/// Sizes of blocks: one packet, several, a whole frame.
const SIZES: [usize; 7] = [0, 1, 100, 1_000, 4_096, 65_536, 300_000];

/// What is announced, and by whom.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    seed: u64,
    /// Who announces, and who finds.
    peers: Vec<Kind>,
    /// Which of them keeps the table.
    keeper: Kind,
    make: Make,
    /// There before anybody looks.
    first: Vec<Content>,
    /// Appended once the other is connected.
    later: Vec<Content>,
}

impl Plan {
    /// From a seed.
    pub fn roll(seed: u64, peers: &[Kind], keeper: Kind) -> Plan {
        let mut dice = Dice::new(seed);
        let make = Make::roll(Flavour::Default, &mut dice);
        let mut blocks = |most| -> Vec<Content> {
            let count = dice.between(1, most);
            (0..count).map(|_| Content(dice.seed(), dice.pick(&SIZES))).collect()
        };
        let (first, later) = (blocks(MOST_BLOCKS), blocks(10));
        Plan { seed, peers: peers.to_vec(), keeper, make, first, later }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Plays `plan` in `dir`; an error says who disagreed about what.
pub fn play(site: &Site, plan: &Plan, dir: &Path) -> Result<()> {
    let mut cast = Cast::start(site, &plan.peers, &[], dir)?;
    let keeper = plan.peers.iter().position(|kind| *kind == plan.keeper).context("nobody keeps the table")?;
    let table = cast.ask(keeper, json!({ "do": "table", "nodes": NODES }))?;
    cast.ask_all(0..2, &json!({ "do": "swarm", "bootstrap": table["bootstrap"] }))?;
    let key = cast.ask(0, json!({ "do": "openLog", "log": LOG, "make": plan.make }))?["key"].clone();
    cast.ask(1, json!({ "do": "openLog", "log": LOG, "key": key }))?;
    cast.ask(0, json!({ "do": "append", "log": LOG, "blocks": plan.first }))?;
    cast.ask(0, json!({ "do": "joinSwarm", "log": LOG, "serve": true }))?;
    cast.ask(1, json!({ "do": "joinSwarm", "log": LOG, "serve": false }))?;
    let mut blocks = plan.first.clone();
    compare(&mut cast, &blocks).context("what was there first")?;
    cast.ask(0, json!({ "do": "append", "log": LOG, "blocks": plan.later }))?;
    blocks.extend(&plan.later);
    compare(&mut cast, &blocks).context("what came later")?;
    for number in 0..2 {
        let met = cast.ask(number, json!({ "do": "met" }))?["met"].clone();
        ensure!(met == json!(1), "{} has {met} connections for one peer", cast.name(number));
    }
    cast.end()
}

/// Lets the finder get everything, and judges both by what was appended.
fn compare(cast: &mut Cast<'_>, blocks: &[Content]) -> Result<()> {
    let length = blocks.len();
    let ask = |cast: &mut Cast<'_>, command: Value| cast.ask(1, command).map(drop);
    ask(cast, json!({ "do": "wait", "log": LOG, "length": length, "fork": 0, "timeoutMs": FIND_MS }))?;
    ask(cast, json!({ "do": "download", "log": LOG, "start": 0, "end": length, "timeoutMs": DOWNLOAD_MS }))?;
    let expected: Vec<_> = blocks.iter().map(|block| block.digest()).collect();
    let dumps = cast.ask_all(0..2, &json!({ "do": "dump", "log": LOG }))?;
    for (number, dump) in dumps.iter().enumerate() {
        let (name, expected) = (cast.name(number), json!(expected));
        ensure!(dump["blocks"] == expected, "{name}: block {}", difference(&dump["blocks"], &expected));
    }
    ensure!(dumps[0]["treeHash"] == dumps[1]["treeHash"], "the trees differ");
    Ok(())
}
