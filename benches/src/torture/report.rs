//! The whole torture in one report: what was tried, what was lost, and what the controls lost.

use crate::judge::Wrong;
use crate::program::Program;
use crate::subject::{Blocks, Subject};
use crate::{cuts, faults, flips, kills, liars, place};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Options {
    /// Print exactly one JSON object on standard output
    #[arg(long)]
    json: bool,
    /// What chance follows from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Torture only this: `fjall` shows what the engine alone withstands
    #[arg(long, default_value = "store")]
    subject: Subject,
    /// Do this part only: cuts, kills, faults, flips or liars
    #[arg(long)]
    only: Option<String>,
    /// A hundredth of everything
    #[arg(long)]
    quick: bool,
    /// The commit this was built from
    #[arg(long, default_value = "unknown")]
    commit: String,
}

/// How much of everything.
struct Size {
    steps: u64,
    cuts: Option<u64>,
    kills: u64,
    faults: Option<u64>,
    flips: Option<u64>,
    liars: u64,
}

impl Options {
    fn size(&self) -> Size {
        if self.quick {
            Size { steps: 300, cuts: Some(200), kills: 15, faults: Some(12), flips: Some(200), liars: 10 }
        } else {
            Size { steps: 10_000, cuts: None, kills: 1_000, faults: None, flips: None, liars: 1_000 }
        }
    }

    fn told(&self, program: Program) -> Blocks {
        Blocks { subject: self.subject, program }
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }
}

/// What is added up over all parts.
#[derive(Default)]
pub struct Sum {
    lost: u64,
    false_acks: u64,
    unopenable: u64,
    panicked: u64,
    hung: u64,
    /// Refusals whose words help nobody.
    unhelpful: u64,
    /// Probes that found nothing where there is something.
    pub blind: u64,
    pub parts: serde_json::Map<String, Value>,
}

impl Sum {
    /// Adds a part: what was wrong, and what the report says about it.
    pub fn add(&mut self, part: &str, wrong: &[(String, Wrong)], mut fields: Value) {
        for (number, (place, what)) in wrong.iter().enumerate() {
            if number < 20 {
                eprintln!("    {part}, {place}: {what:?}");
            }
            match what {
                Wrong::Lost(_) => self.lost += 1,
                Wrong::FalseAck(_) => self.false_acks += 1,
                Wrong::Unopenable(_) => self.unopenable += 1,
                Wrong::Panicked(_) => self.panicked += 1,
                Wrong::Hung => self.hung += 1,
                Wrong::Unhelpful(_) => self.unhelpful += 1,
            }
        }
        if wrong.len() > 20 {
            eprintln!("    {part}: and {} more", wrong.len() - 20);
        }
        fields["wrong"] = json!(wrong.len());
        self.parts.insert(part.into(), fields);
    }

    /// All sums and parts.
    pub fn report(&self) -> Value {
        json!({
            "ok": self.clean(), "lost": self.lost, "false_acks": self.false_acks, "unopenable": self.unopenable,
            "panicked": self.panicked, "hung": self.hung, "unhelpful": self.unhelpful, "parts": self.parts,
        })
    }

    fn clean(&self) -> bool {
        self.lost
            + self.false_acks
            + self.unopenable
            + self.panicked
            + self.hung
            + self.unhelpful
            + self.blind
            == 0
    }
}

/// Runs the parts that were asked for. Fails when anything was lost, or when a control found nothing.
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
    let mut sum = Sum::default();
    type Part = fn(&Options, &mut Sum) -> Result<()>;
    let parts: [(&str, Part); 5] =
        [("cuts", cuts), ("kills", kills), ("faults", faults), ("flips", flips), ("liars", liars)];
    for (name, part) in parts.into_iter().filter(|(name, _)| options.wants(name)) {
        let began = Instant::now();
        part(options, &mut sum).with_context(|| format!("the part {name} could not be done"))?;
        sum.parts[name]["seconds"] = json!(began.elapsed().as_secs());
    }
    let controls = controls(options)?;
    sum.blind += controls.iter().filter(|control| control["wrong"] == json!(0)).count() as u64;
    let mut report = sum.report();
    for (name, value) in [
        ("what", json!("torture data")),
        ("commit", json!(options.commit)),
        ("seed", json!(options.seed)),
        ("machine", machine()),
        ("subject", json!(options.subject.name())),
        ("seconds", json!(since.elapsed().as_secs())),
        ("controls", json!(controls)),
    ] {
        report[name] = value;
    }
    Ok(report)
}

fn cuts(options: &Options, sum: &mut Sum) -> Result<()> {
    let Size { steps, cuts: at_most, .. } = options.size();
    eprintln!("==> power lost at every point of {steps} steps");
    let all_fates_once_in = if options.quick { 8 } else { 1 };
    let trial = options.told(Program::of(options.seed));
    let plan = cuts::Plan { trial, steps, at_most, all_fates_once_in };
    let done = cuts::run(&plan)?;
    let fields = json!({ "steps": steps, "operations": done.ops, "cut_points": done.cuts,
        "images": done.images, "images_as_the_one_before": done.repeated,
        "all_fates_at_one_in": all_fates_once_in });
    sum.add("cuts", &done.wrong, fields);
    Ok(())
}

fn kills(options: &Options, sum: &mut Sum) -> Result<()> {
    let (trial, kills) = (options.told(Program::of(options.seed)), options.size().kills);
    eprintln!("==> {kills} kills");
    let done = kills::run(&kills::Plan { trial, kills, program_file: &program_file()? })?;
    let fields = json!({ "kills": done.kills, "while_opening": done.while_opening,
        "steps_acknowledged": done.steps });
    sum.add("kills", &done.wrong, fields);
    Ok(())
}

fn faults(options: &Options, sum: &mut Sum) -> Result<()> {
    eprintln!("==> calls of the disk that fail");
    let program = Program { tidy_once_in: 8, ..Program::of(options.seed) };
    let at_most = options.size().faults;
    let plan = faults::Plan { trial: options.told(program), before: 12, steps: 12, at_most };
    let done = faults::run(&plan)?;
    let fields = json!({ "faults": done.faults, "steps_refused": done.refusals,
        "steps_acknowledged_after_a_fault": done.acknowledged });
    sum.add("faults", &done.wrong, fields);
    Ok(())
}

fn flips(options: &Options, sum: &mut Sum) -> Result<()> {
    eprintln!("==> bytes flipped");
    let done = flips::run(&flips::Plan {
        trial: options.told(small(options)),
        steps: 24,
        at_most: options.size().flips,
        heal_once_in: if options.quick { 20 } else { 1 },
    })?;
    let fields = json!({ "bytes": done.bytes, "flips": done.flips, "noticed": done.noticed,
        "unharmed": done.unharmed, "healed": done.healed });
    sum.add("flips", &done.wrong, fields);
    Ok(())
}

fn liars(options: &Options, sum: &mut Sum) -> Result<()> {
    let copies = options.size().liars;
    eprintln!("==> {copies} copies with a liar between them and the author");
    let done = liars::run(options.seed, copies)?;
    sum.blind += u64::from(done.would_deceive == 0);
    let fields = json!({ "copies": copies, "lies": done.lies, "blamed": done.blamed,
        "would_deceive_who_checks_nothing": done.would_deceive, "completed": done.completed });
    sum.add("liars", &done.wrong, fields);
    Ok(())
}

/// For a store of which every byte counts: few of them, in tables too.
fn small(options: &Options) -> Program {
    Program { largest: 300, tidy_once_in: 8, ..Program::of(options.seed) }
}

/// Small runs on toys: each part must find its toy's flaw.
fn controls(options: &Options) -> Result<Vec<Value>> {
    let program = Program::of(options.seed);
    let mut found = Vec::new();
    let mut say = |part: &str, subject: Subject, wrong: usize| {
        found.push(json!({ "part": part, "subject": subject.name(), "wrong": wrong }));
    };
    if options.wants("cuts") {
        for subject in [Subject::ToyWithoutSync, Subject::ToyWithoutFolderSync, Subject::ToyLengthFirst] {
            let trial = Blocks { subject, program };
            let plan = cuts::Plan { trial, steps: 100, at_most: Some(100), all_fates_once_in: 1 };
            say("cuts", subject, cuts::run(&plan)?.wrong.len());
        }
    }
    if options.wants("kills") {
        let subject = Subject::ToyThatBuffers;
        let trial = Blocks { subject, program };
        let plan = kills::Plan { trial, kills: 20, program_file: &program_file()? };
        say("kills", subject, kills::run(&plan)?.wrong.len());
    }
    if options.wants("faults") {
        let subject = Subject::ToyDeafToErrors;
        let trial = Blocks { subject, program };
        let plan = faults::Plan { trial, before: 4, steps: 4, at_most: None };
        say("faults", subject, faults::run(&plan)?.wrong.len());
    }
    if options.wants("flips") {
        let subject = Subject::ToyWithoutSync;
        let trial = Blocks { subject, program: small(options) };
        let plan = flips::Plan { trial, steps: 24, at_most: Some(100), heal_once_in: 1 };
        say("flips", subject, flips::run(&plan)?.wrong.len());
    }
    Ok(found)
}

/// This program, which is also the one that is killed.
pub fn program_file() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find out where this program lies")
}

/// The machine that this runs on.
pub fn machine() -> Value {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({ "cores": std::thread::available_parallelism().map_or(1, |cores| cores.get()), "kernel": kernel.trim() })
}

/// Prints a report on standard output.
pub fn print(report: &Value, json: bool) {
    if json {
        println!("{report}");
    } else {
        println!("{report:#}");
    }
}
