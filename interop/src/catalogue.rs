//! Which programs are played, by whom, and how often.

use crate::bees;
use crate::drives::{self, Privacy};
use crate::logs::{self, Flavour};
use crate::report::{Outcome, Report};
use crate::stage::{Kind, Site};
use crate::swarms;
use anyhow::{Context as _, Result, bail, ensure};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What to play.
#[derive(clap::Args)]
pub struct Options {
    /// Folder of the npm peers, after `npm ci`
    #[arg(long, value_name = "DIR")]
    peers: PathBuf,
    /// The program that runs JavaScript
    #[arg(long, value_name = "PROGRAM", default_value = "node")]
    node: PathBuf,
    /// Programs of each scenario
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
    /// Everything else follows from it
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Play only scenarios whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Play only the program of this seed, as a report named it
    #[arg(long, value_name = "SEED", requires = "only")]
    program: Option<u64>,
    /// Play one program of the scenarios that together touch everything: what tests have time for
    #[arg(long, conflicts_with_all = ["seeds", "only", "program"])]
    short: bool,
    /// Programs at a time
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// The commit that the report names
    #[arg(long, value_name = "COMMIT", default_value = "unknown")]
    commit: String,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Peers, the writer first, and what they do.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// `log/encrypted/ours-eleven`.
    pub name: String,
    /// The writer first.
    pub peers: Vec<Kind>,
    /// On what.
    pub task: Task,
}

/// What a scenario is about.
#[derive(Clone, Copy, Debug)]
pub enum Task {
    /// Programs on one log.
    Log(Flavour),
    /// The same, with a judge who was told of a block that never was.
    Deceived,
    /// Programs on a sorted map.
    Bee(Flavour),
    /// The same program on two maps of equal keys that never meet: they make the very same blocks.
    TwinBees(Flavour),
    /// Programs on a drive.
    Drive(Privacy),
    /// The same program on two drives of equal keys that never meet.
    TwinDrives(Privacy),
    /// A log found on a table that a peer of this kind keeps.
    Swarm(Kind),
}

impl Scenario {
    fn new(about: &str, peers: &[Kind], task: Task) -> Self {
        let names: Vec<_> = peers.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
        Scenario { name: format!("{about}/{}", names.join("-")), peers: peers.to_vec(), task }
    }

    /// Whether ours takes part; else it is the control.
    pub fn is_control(&self) -> bool {
        !self.peers.contains(&Kind::Ours)
    }

    /// Seeds of different scenarios differ, so that they do not all play the same program.
    fn seed(&self, seed: u64, number: u64) -> u64 {
        let mut dice = crate::dice::Dice::new(seed);
        let start = self
            .name
            .bytes()
            .fold(dice.any(), |mix, byte| (mix ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        // Small enough for every program that reads JSON.
        crate::dice::Dice::new(start.wrapping_add(number)).any() >> 16
    }

    /// Gives what npm's peers needed to go on.
    fn play(&self, site: &Site, seed: u64) -> Result<logs::Repairs> {
        let dir =
            tempfile::Builder::new().prefix("cloudpal-interop-").tempdir().context("no temporary folder")?;
        let no_repairs = logs::Repairs::default();
        match self.task {
            Task::Log(flavour) => {
                let plan = logs::Plan::roll(seed, &self.peers, flavour);
                logs::play(site, &plan, dir.path(), logs::Judge::Honest).with_context(|| plan.to_string())
            }
            Task::Deceived => {
                let plan = logs::Plan::roll_with_blocks(seed, &self.peers, Flavour::Default);
                match logs::play(site, &plan, dir.path(), logs::Judge::Deceived) {
                    Ok(_) => {
                        bail!("a block that never was is found everywhere: the comparison sees nothing")
                    }
                    Err(error) if format!("{error:#}").contains("block") => Ok(no_repairs),
                    Err(error) => Err(error).with_context(|| plan.to_string()),
                }
            }
            Task::Bee(flavour) => {
                let plan = bees::Plan::roll(seed, &self.peers, flavour);
                bees::play(site, &plan, dir.path()).with_context(|| plan.to_string()).map(|()| no_repairs)
            }
            Task::TwinBees(flavour) => {
                let plan = bees::Plan::of_twins(seed, &self.peers, flavour);
                bees::play(site, &plan, dir.path()).with_context(|| plan.to_string()).map(|()| no_repairs)
            }
            Task::Drive(privacy) => {
                let plan = drives::Plan::roll(seed, &self.peers, privacy);
                drives::play(site, &plan, dir.path()).with_context(|| plan.to_string()).map(|()| no_repairs)
            }
            Task::TwinDrives(privacy) => {
                let plan = drives::Plan::of_twins(seed, &self.peers, privacy);
                drives::play(site, &plan, dir.path()).with_context(|| plan.to_string()).map(|()| no_repairs)
            }
            Task::Swarm(keeper) => {
                let plan = swarms::Plan::roll(seed, &self.peers, keeper);
                swarms::play(site, &plan, dir.path()).with_context(|| plan.to_string()).map(|()| no_repairs)
            }
        }
    }
}

/// Every scenario there is.
fn all() -> Vec<Scenario> {
    use Kind::{Eleven, Ours, Ten};
    let mut all = Vec::new();
    let pairs = [
        [Ours, Eleven],
        [Eleven, Ours],
        [Ours, Ten],
        [Ten, Ours],
        [Eleven, Eleven],
        [Ten, Eleven],
        [Eleven, Ten],
    ];
    let trios = [
        [Ours, Ours, Eleven],
        [Ours, Eleven, Ours],
        [Eleven, Ours, Ours],
        [Ten, Ours, Eleven],
        [Ours, Ten, Ours],
        [Eleven, Eleven, Eleven],
    ];
    for flavour in Flavour::ALL {
        let pairs = pairs.iter().map(|pair| &pair[..]);
        for peers in pairs.chain(trios.iter().map(|trio| &trio[..])) {
            let readable = peers[1..].iter().all(|&kind| logs::can_read(kind, flavour));
            if logs::can_write(peers[0], flavour) && readable {
                all.push(Scenario::new(&format!("log/{}", word(flavour)), peers, Task::Log(flavour)));
            }
        }
    }
    for flavour in [Flavour::Default, Flavour::Compat, Flavour::Encrypted] {
        for peers in pairs {
            all.push(Scenario::new(&format!("bee/{}", word(flavour)), &peers, Task::Bee(flavour)));
        }
        for peers in [[Ours, Eleven], [Ours, Ten], [Eleven, Ten]] {
            all.push(Scenario::new(&format!("twin-bees/{}", word(flavour)), &peers, Task::TwinBees(flavour)));
        }
    }
    for (privacy, word) in [(Privacy::Open, "open"), (Privacy::Encrypted, "encrypted")] {
        for peers in [[Ours, Eleven], [Eleven, Ours], [Eleven, Eleven]] {
            all.push(Scenario::new(&format!("drive/{word}"), &peers, Task::Drive(privacy)));
        }
        for peers in [[Ours, Eleven], [Eleven, Eleven]] {
            all.push(Scenario::new(&format!("twin-drives/{word}"), &peers, Task::TwinDrives(privacy)));
        }
    }
    for peers in [[Ours, Eleven], [Eleven, Ours]] {
        for keeper in peers {
            let about = format!("swarm/on-{}", format!("{keeper:?}").to_lowercase());
            all.push(Scenario::new(&about, &peers, Task::Swarm(keeper)));
        }
    }
    all.push(Scenario::new("swarm/on-eleven", &[Eleven, Eleven], Task::Swarm(Eleven)));
    all.push(Scenario::new("deceived", &[Eleven, Eleven], Task::Deceived));
    all
}

/// The scenarios that tests have time for: every flavour against both versions in both directions, three peers,
/// maps, drives, and a control of each kind.
fn is_short(scenario: &Scenario) -> bool {
    use Kind::{Eleven, Ours, Ten};
    let plain = scenario.name.contains("/default/") || scenario.name.contains("/open/");
    match (scenario.task, scenario.peers.as_slice()) {
        (Task::Deceived, _) => true,
        (Task::Log(Flavour::Default), [Eleven, Eleven]) => true,
        (Task::Log(Flavour::Default), [_, _, _]) => !scenario.is_control(),
        (Task::Log(flavour), [_, _]) => flavour != Flavour::Multi(2) && !scenario.is_control(),
        (Task::Log(_), _) => false,
        (Task::Swarm(keeper), peers) => peers.first() == Some(&keeper) && !scenario.is_control(),
        (_, [Ours, Ten] | [Ten, Ours]) => plain,
        (Task::TwinBees(_) | Task::TwinDrives(_) | Task::Bee(_) | Task::Drive(_), _) => {
            plain && !scenario.is_control()
        }
    }
}

fn word(flavour: Flavour) -> String {
    match flavour {
        Flavour::Default => "default".into(),
        Flavour::Compat => "compat".into(),
        Flavour::Encrypted => "encrypted".into(),
        Flavour::EncryptedCompat => "encrypted-compat".into(),
        Flavour::Multi(version) => format!("multi-v{version}"),
    }
}

/// Plays, prints, and says whether all went well.
pub fn run(options: &Options) -> Result<bool> {
    let modules = options.peers.join("node_modules");
    ensure!(modules.is_dir(), "{} is not there; run `cargo xtask interop`", modules.display());
    let site = Site { node: options.node.clone(), peers: options.peers.clone() };
    let mut list = Vec::new();
    for scenario in all() {
        let other = options.only.as_ref().is_some_and(|only| !scenario.name.contains(only.as_str()));
        if other || (options.short && !is_short(&scenario)) {
            continue;
        }
        let seeds: Vec<u64> = match options.program {
            Some(seed) => vec![seed],
            None => (0..if options.short { 1 } else { options.seeds })
                .map(|number| scenario.seed(options.seed, number))
                .collect(),
        };
        list.extend(seeds.into_iter().map(|seed| (scenario.clone(), seed)));
    }
    ensure!(!list.is_empty(), "no scenario has that name");
    let report = Report::of(options.seed, &options.commit, play_all(&site, &list, options.jobs.max(1)));
    match options.json {
        true => println!("{}", report.json()),
        false => println!("{}", report.text()),
    }
    Ok(report.ok())
}

fn play_all(site: &Site, list: &[(Scenario, u64)], jobs: usize) -> Vec<Outcome> {
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some((scenario, seed)) = list.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (repairs, failure) = match scenario.play(site, *seed) {
                        Ok(repairs) => (repairs, None),
                        Err(error) => (logs::Repairs::default(), Some(format!("{error:#}"))),
                    };
                    let outcome = Outcome { scenario: scenario.clone(), seed: *seed, repairs, failure };
                    outcome.tell();
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push(outcome);
                    }
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_default()
}
