//! The whole torture in one report: what was tried, what was lost, and what the controls lost.

use crate::judge::Wrong;
use crate::program::Program;
use crate::subject::Subject;
use crate::{cuts, faults, flips, kills, liars};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::process::ExitCode;

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

    fn wants(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }
}

/// What is added up over all parts.
#[derive(Default)]
struct Sum {
    lost: u64,
    unopenable: u64,
    panicked: u64,
    hung: u64,
}

impl Sum {
    fn add(&mut self, part: &str, wrong: &[(String, Wrong)]) {
        for (number, (place, what)) in wrong.iter().enumerate() {
            if number < 5 {
                eprintln!("    {part}, {place}: {what:?}");
            }
            match what {
                Wrong::Lost(_) => self.lost += 1,
                Wrong::Unopenable(_) => self.unopenable += 1,
                Wrong::Panicked(_) => self.panicked += 1,
                Wrong::Hung => self.hung += 1,
            }
        }
        if wrong.len() > 5 {
            eprintln!("    {part}: and {} more", wrong.len() - 5);
        }
    }

    fn clean(&self) -> bool {
        self.lost + self.unopenable + self.panicked + self.hung == 0
    }
}

/// Runs the parts that were asked for. Fails when anything was lost, or when a control found nothing.
pub fn torture(options: &Options) -> Result<ExitCode> {
    let me = std::env::current_exe().context("cannot find out where this program lies")?;
    let (subject, size, program) = (options.subject, options.size(), Program::of(options.seed));
    let mut sum = Sum::default();
    let mut blind = 0;
    let mut parts = serde_json::Map::new();
    if options.wants("cuts") {
        eprintln!("==> power lost at every point of {} steps", size.steps);
        let done = cuts::run(&cuts::Plan {
            subject,
            program,
            steps: size.steps,
            at_most: size.cuts,
            all_fates_once_in: 8,
        })?;
        sum.add("cuts", &done.wrong);
        let fields = json!({ "steps": size.steps, "operations": done.ops, "cut_points": done.cuts,
            "images": done.images, "wrong": done.wrong.len() });
        parts.insert("cuts".into(), fields);
    }
    if options.wants("kills") {
        eprintln!("==> {} kills", size.kills);
        let done = kills::run(&kills::Plan { subject, program, kills: size.kills, program_file: &me })?;
        sum.add("kills", &done.wrong);
        let fields = json!({ "kills": done.kills, "while_opening": done.while_opening,
            "steps_acknowledged": done.steps, "wrong": done.wrong.len() });
        parts.insert("kills".into(), fields);
    }
    if options.wants("faults") {
        eprintln!("==> calls of the disk that fail");
        let plan = faults::Plan { subject, program, before: 12, steps: 12, at_most: size.faults };
        let done = faults::run(&plan)?;
        sum.add("faults", &done.wrong);
        let fields = json!({ "faults": done.faults, "steps_refused": done.refusals,
            "steps_acknowledged_after_a_fault": done.acknowledged, "wrong": done.wrong.len() });
        parts.insert("faults".into(), fields);
    }
    if options.wants("flips") {
        eprintln!("==> bytes flipped");
        let small = Program { largest: 300, ..program };
        let done = flips::run(&flips::Plan {
            subject,
            program: small,
            steps: 24,
            at_most: size.flips,
            heal_once_in: 20,
        })?;
        sum.add("flips", &done.wrong);
        let fields = json!({ "bytes": done.bytes, "flips": done.flips, "noticed": done.noticed,
            "unharmed": done.unharmed, "healed_of_those_tried": done.healed, "wrong": done.wrong.len() });
        parts.insert("flips".into(), fields);
    }
    if options.wants("liars") {
        eprintln!("==> {} copies with a liar between them and the author", size.liars);
        let done = liars::run(options.seed, size.liars)?;
        sum.add("liars", &done.wrong);
        blind += u64::from(done.would_deceive == 0);
        let fields = json!({ "copies": size.liars, "lies": done.lies, "blamed": done.blamed,
            "would_deceive_who_checks_nothing": done.would_deceive, "completed": done.completed,
            "wrong": done.wrong.len() });
        parts.insert("liars".into(), fields);
    }
    let controls = controls(options)?;
    blind += controls.iter().filter(|control| control["wrong"] == json!(0)).count() as u64;
    let ok = sum.clean() && blind == 0;
    let report = json!({
        "what": "torture data", "commit": options.commit, "ok": ok, "seed": options.seed, "machine": machine(),
        "subject": subject.name(),
        "lost": sum.lost, "unopenable": sum.unopenable, "panicked": sum.panicked, "hung": sum.hung,
        "parts": parts, "controls": controls,
    });
    print(&report, options.json);
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
            let done = cuts::run(&cuts::Plan {
                subject,
                program,
                steps: 100,
                at_most: Some(100),
                all_fates_once_in: 1,
            })?;
            say("cuts", subject, done.wrong.len());
        }
    }
    if options.wants("faults") {
        let subject = Subject::ToyDeafToErrors;
        let plan = faults::Plan { subject, program, before: 4, steps: 4, at_most: None };
        say("faults", subject, faults::run(&plan)?.wrong.len());
    }
    if options.wants("flips") {
        let subject = Subject::ToyWithoutSync;
        let small = Program { largest: 300, ..program };
        let plan = flips::Plan { subject, program: small, steps: 24, at_most: Some(100), heal_once_in: 1 };
        say("flips", subject, flips::run(&plan)?.wrong.len());
    }
    Ok(found)
}

fn machine() -> Value {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({ "cores": std::thread::available_parallelism().map_or(1, |cores| cores.get()), "kernel": kernel.trim() })
}

fn print(report: &Value, json: bool) {
    if json {
        println!("{report}");
    } else {
        println!("{report:#}");
    }
}
