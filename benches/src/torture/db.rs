//! The whole torture of the database in one report: worlds, and what is done to a real one on its disk.

use crate::base::{Batches, Flaw};
use crate::report::{Sum, machine, print, program_file};
use crate::{cuts, faults, flips, kills, place, worlds};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Options {
    /// Print exactly one JSON object on standard output
    #[arg(long)]
    json: bool,
    /// Do this part only: worlds, cuts, kills, faults or flips
    #[arg(long)]
    only: Option<String>,
    /// How many worlds, with the seeds from 0 on
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    seeds: u64,
    /// Play the world of this seed only, and tell what happens in it
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Things that happen in each world
    #[arg(long, value_name = "N", default_value_t = 150)]
    steps: u64,
    /// How often a process that writes is killed
    #[arg(long, value_name = "N", default_value_t = 300)]
    kills: u64,
    /// Flip every byte, lose power at every point, fail every call: otherwise some are chosen, spread evenly
    #[arg(long)]
    every: bool,
    /// What chance follows from on the disk
    #[arg(long, value_name = "N", default_value_t = 1)]
    disk_seed: u64,
    /// A small part of everything
    #[arg(long)]
    quick: bool,
    /// The commit this was built from
    #[arg(long, default_value = "unknown")]
    commit: String,
}

/// How much is done on the disk.
struct Size {
    steps: u64,
    cuts: Option<u64>,
    all_fates_once_in: u64,
    kills: u64,
    faults: Option<u64>,
    flips: Option<u64>,
    heal_once_in: u64,
}

impl Options {
    fn size(&self) -> Size {
        let times = if self.quick { 1 } else { 20 };
        let some = |count: u64| (!self.every).then_some(count * times);
        Size {
            steps: if self.quick { 60 } else { 400 },
            cuts: some(60),
            all_fates_once_in: if self.every { 1 } else { 8 },
            kills: if self.quick { self.kills.min(12) } else { self.kills },
            faults: some(10),
            flips: some(150),
            heal_once_in: if self.quick { 10 } else { 2 },
        }
    }

    fn wants(&self, part: &str) -> bool {
        // One world is looked at alone.
        let only = self.only.as_deref().or(self.seed.map(|_| "worlds"));
        only.is_none_or(|only| only == part)
    }
}

/// Does the parts that were asked for. Fails when anything came out wrong, or when a control was not noticed.
pub fn torture(options: &Options) -> Result<ExitCode> {
    place::begin()?;
    let report = report(options);
    place::end();
    let report = report?;
    print(&report, options.json);
    Ok(if report["ok"] == json!(true) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(options: &Options) -> Result<Value> {
    let since = Instant::now();
    let worlds = options.wants("worlds").then(|| {
        let Options { seeds, seed, steps, .. } = *options;
        worlds::run(&worlds::Plan { seeds, seed, steps })
    });
    let mut sum = Sum::default();
    type Part = fn(&Options, &mut Sum) -> Result<()>;
    let parts: [(&str, Part); 4] = [("cuts", cuts), ("kills", kills), ("faults", faults), ("flips", flips)];
    for (name, part) in parts.into_iter().filter(|(name, _)| options.wants(name)) {
        let began = Instant::now();
        part(options, &mut sum).with_context(|| format!("the part {name} could not be done"))?;
        sum.parts[name]["seconds"] = json!(began.elapsed().as_secs());
    }
    let controls = controls(options)?;
    sum.blind += controls.iter().filter(|control| control["wrong"] == json!(0)).count() as u64;
    let mut report = sum.report();
    if let Some(worlds) = worlds {
        report["ok"] = json!(report["ok"] == json!(true) && worlds["ok"] == json!(true));
        report["worlds"] = worlds;
    }
    for (name, value) in [
        ("what", json!("torture db")),
        ("commit", json!(options.commit)),
        ("disk_seed", json!(options.disk_seed)),
        ("machine", machine()),
        ("seconds", json!(since.elapsed().as_secs())),
        ("controls", json!(controls)),
    ] {
        report[name] = value;
    }
    Ok(report)
}

fn cuts(options: &Options, sum: &mut Sum) -> Result<()> {
    let Size { steps, cuts: at_most, all_fates_once_in, .. } = options.size();
    eprintln!("==> power lost while {steps} batches are written");
    let trial = Batches::of(options.disk_seed);
    let done = cuts::run(&cuts::Plan { trial, steps, at_most, all_fates_once_in })?;
    let fields = json!({ "steps": steps, "operations": done.ops, "cut_points": done.cuts,
        "images": done.images, "images_as_the_one_before": done.repeated,
        "all_fates_at_one_in": all_fates_once_in });
    sum.add("cuts", &done.wrong, fields);
    Ok(())
}

fn kills(options: &Options, sum: &mut Sum) -> Result<()> {
    let (trial, kills) = (Batches::of(options.disk_seed), options.size().kills);
    eprintln!("==> {kills} kills");
    let done = kills::run(&kills::Plan { trial, kills, program_file: &program_file()? })?;
    let fields = json!({ "kills": done.kills, "while_opening": done.while_opening,
        "batches": done.steps, "relaxed_batches_forgotten": done.forgotten });
    sum.add("kills", &done.wrong, fields);
    Ok(())
}

fn faults(options: &Options, sum: &mut Sum) -> Result<()> {
    eprintln!("==> calls of the disk that fail");
    let trial = Batches { tidy_once_in: 8, ..Batches::of(options.disk_seed) };
    let plan = faults::Plan { trial, before: 24, steps: 16, at_most: options.size().faults };
    let done = faults::run(&plan)?;
    let fields = json!({ "faults": done.faults, "batches_refused": done.refusals,
        "batches_acknowledged_after_a_fault": done.acknowledged });
    sum.add("faults", &done.wrong, fields);
    Ok(())
}

fn flips(options: &Options, sum: &mut Sum) -> Result<()> {
    eprintln!("==> bytes flipped");
    let Size { flips: at_most, heal_once_in, .. } = options.size();
    let plan = flips::Plan { trial: small(options), steps: 24, at_most, heal_once_in };
    let done = flips::run(&plan)?;
    let fields = json!({ "bytes": done.bytes, "flips": done.flips, "noticed": done.noticed,
        "mended_by_itself": done.mended, "unharmed": done.unharmed, "healed": done.healed });
    sum.add("flips", &done.wrong, fields);
    Ok(())
}

/// For a store of which every byte counts.
fn small(options: &Options) -> Batches {
    Batches { longest: 200, tidy_once_in: 7, ..Batches::of(options.disk_seed) }
}

/// Small runs on databases with a flaw, which each part must find.
fn controls(options: &Options) -> Result<Vec<Value>> {
    let flawed = |flaw| Batches { flaw, ..small(options) };
    let mut found = Vec::new();
    let mut say = |part: &str, flaw: Flaw, wrong: usize| {
        found.push(json!({ "part": part, "flaw": flaw.name(), "wrong": wrong }));
    };
    if options.wants("cuts") {
        let trial = flawed(Flaw::NeverSynced);
        let plan = cuts::Plan { trial, steps: 30, at_most: Some(40), all_fates_once_in: 1 };
        say("cuts", trial.flaw, cuts::run(&plan)?.wrong.len());
    }
    if options.wants("kills") {
        let trial = flawed(Flaw::LateByOne);
        let plan = kills::Plan { trial, kills: 8, program_file: &program_file()? };
        say("kills", trial.flaw, kills::run(&plan)?.wrong.len());
    }
    if options.wants("faults") {
        let trial = flawed(Flaw::NeverSynced);
        let plan = faults::Plan { trial, before: 8, steps: 8, at_most: Some(8) };
        say("faults", trial.flaw, faults::run(&plan)?.wrong.len());
    }
    if options.wants("flips") {
        let trial = flawed(Flaw::LateByOne);
        let plan = flips::Plan { trial, steps: 8, at_most: Some(8), heal_once_in: 1 };
        say("flips", trial.flaw, flips::run(&plan)?.wrong.len());
    }
    Ok(found)
}
