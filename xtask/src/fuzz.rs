//! `cargo xtask fuzz`: random bytes into every parser of bytes from outside, guided by which code they reach.
//!
//! It does what `cargo fuzz run -s none` does, without that program and with stable Rust: libFuzzer comes as a crate, and the
//! counters that guide it are a pass of LLVM. A short fixed run of the same targets is part of `cargo xtask test`
//! (`fuzz/replay`). Inputs that reach new code go to `fuzz/found/TARGET`, which git ignores; those worth keeping are copied
//! to `fuzz/corpus/TARGET` by `--keep`.

use crate::run::{step, watched};
use crate::tree;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// As cargo-fuzz has them: edge counters in line, a table of places, comparisons traced.
const COUNTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Clink-dead-code -Ccodegen-units=1 -Cdebug-assertions \
    -Coverflow-checks";

/// The machine that is built for. Named, so that the flags above do not reach build scripts.
const MACHINE: &str = "x86_64-unknown-linux-gnu";

/// Bytes of the largest input. Frames and entries are smaller, and small ones are tried faster.
const LARGEST: u32 = 8192;

#[derive(clap::Args)]
pub struct Options {
    /// Only this target [default: all, one after another]
    target: Option<String>,
    /// How long for each target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Afterwards replace the committed corpus by the smallest set of inputs that reaches the same code
    #[arg(long)]
    keep: bool,
}

/// Builds the targets and runs them. Stops at the first that finds something.
pub fn fuzz(options: &Options) -> Result<()> {
    let all = targets()?;
    let chosen: Vec<&String> = match &options.target {
        Some(name) => all.iter().filter(|target| *target == name).collect(),
        None => all.iter().collect(),
    };
    if chosen.is_empty() {
        bail!("no target has that name; there are: {}", all.join(", "));
    }
    let built = tree::target()?.join("fuzz");
    step("the targets", || build(&built, &chosen))?;
    for target in &chosen {
        step(target, || run(&built.join(MACHINE).join("release").join(target), target, options))?;
    }
    println!("{} targets, nothing found", chosen.len());
    Ok(())
}

/// Names of the files in `fuzz/fuzz_targets`.
fn targets() -> Result<Vec<String>> {
    let folder = tree::root().join("fuzz/fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names: Vec<String> = files
        .flatten()
        .filter_map(|file| Some(file.file_name().to_string_lossy().strip_suffix(".rs")?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn build(built: &Path, targets: &[&String]) -> Result<()> {
    let mut cargo = tree::cargo();
    cargo
        .env("RUSTFLAGS", COUNTED)
        .args(["build", "--release", "--target", MACHINE, "--target-dir"])
        .arg(built);
    cargo.arg("--manifest-path").arg(tree::root().join("fuzz/Cargo.toml"));
    watched(targets.iter().fold(&mut cargo, |cargo, target| cargo.args(["--bin", target.as_str()])))
}

fn run(program: &Path, target: &str, options: &Options) -> Result<()> {
    let corpus = tree::root().join("fuzz/corpus").join(target);
    let found = tree::root().join("fuzz/found").join(target);
    for folder in [&corpus, &found] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut fuzz = Command::new(program);
    fuzz.args([format!("-max_total_time={}", options.seconds), format!("-max_len={LARGEST}")]);
    fuzz.args(["-rss_limit_mb=2048", "-timeout=10", "-verbosity=0", "-print_final_stats=1"]);
    fuzz.arg(format!("-artifact_prefix={}/crash-", tree::root().join("fuzz/found").display()));
    watched(fuzz.arg(&found).arg(&corpus)).context("the input that did it lies in fuzz/found")?;
    if options.keep { keep(program, &corpus, &found) } else { Ok(()) }
}

/// Inputs of the committed corpus at most, and bytes of each.
const KEPT: (usize, u64) = (40, 1024);

fn keep(program: &Path, corpus: &Path, found: &Path) -> Result<()> {
    let smallest = corpus.with_extension("smallest");
    fs::create_dir_all(&smallest)?;
    watched(Command::new(program).args(["-merge=1", "-verbosity=0"]).arg(&smallest).arg(corpus).arg(found))?;
    let mut files: Vec<(u64, PathBuf)> = fs::read_dir(&smallest)?
        .flatten()
        .filter_map(|file| Some((file.metadata().ok()?.len(), file.path())))
        .filter(|(size, _)| *size <= KEPT.1)
        .collect();
    files.sort();
    // Evenly over all sizes: the smallest alone reach little.
    let every = files.len().div_ceil(KEPT.0).max(1);
    for (_, file) in files.into_iter().step_by(every) {
        fs::copy(&file, corpus.join(file.file_name().context("a file has a name")?))?;
    }
    fs::remove_dir_all(&smallest)?;
    Ok(())
}
