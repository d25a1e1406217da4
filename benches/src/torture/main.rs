//! # Tries to make the data crates lose what they acknowledged
//!
//! Filled in by the commits that follow.

mod chance;
mod cuts;
mod disk;
mod judge;
mod place;
mod program;
mod subject;

use clap::Parser;

#[derive(Parser)]
struct Args {
    subject: subject::Subject,
    steps: u64,
    seed: u64,
    #[arg(long)]
    at_most: Option<u64>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let start = std::time::Instant::now();
    let outcome = cuts::run(&cuts::Plan {
        subject: args.subject,
        program: program::Program::of(args.seed),
        steps: args.steps,
        at_most: args.at_most,
    })?;
    let mut kinds = std::collections::BTreeMap::<String, (u64, String)>::new();
    for (place, wrong) in &outcome.wrong {
        let kind: String = format!("{wrong:?}").chars().filter(|c| !c.is_ascii_digit()).collect();
        let slot = kinds.entry(kind).or_insert((0, format!("{place}: {wrong:?}")));
        slot.0 += 1;
    }
    for (kind, (count, place)) in kinds {
        println!("{count} x {kind}\n     {place}");
    }
    println!("{} ops {} cuts {} images {} wrong in {:?}", outcome.ops, outcome.cuts, outcome.images, outcome.wrong.len(), start.elapsed());
    Ok(())
}
