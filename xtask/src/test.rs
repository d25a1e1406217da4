//! `cargo xtask test`: everything that must hold before a change is taken. `.ci/run` calls it and
//! nothing else.

use crate::check::{self, leftovers::Traces};
use crate::run::watched;
use crate::{build, interop, kernel, level, packages, root, tree};
use anyhow::{Result, bail};
use std::time::Instant;

#[derive(clap::Args)]
pub struct Options {
    /// Leave out the end-to-end day: a few minutes instead of a quarter of an hour
    #[arg(long)]
    quick: bool,
    /// Run only steps whose name contains this, such as `structure`
    #[arg(long, value_name = "NAME", conflicts_with = "quick")]
    only: Option<String>,
}

/// Runs every step, also after one failed, and fails if any did.
pub fn test(options: &Options) -> Result<()> {
    let mut steps = Steps { only: options.only.clone(), ..Steps::default() };
    steps.run("system packages", packages::install_missing);
    steps.run("format", || watched(tree::cargo().args(["fmt", "--all", "--check"])));
    steps.run("structure", || {
        check::sources::check()?;
        check::arrows::check()
    });
    steps.run("licences and sources", check::licences::check);
    steps.run("lints", || {
        let lints = ["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"];
        watched(tree::cargo().args(lints))
    });
    steps.run("programs and tests", build::everything);
    steps.run("unit and integration tests", || {
        tests_as_root(&["test", "--workspace", "--locked", "--quiet", "--no-fail-fast"])
    });
    steps.run("npm peers", interop::short);
    steps.run("abstract-level's suite", level::short);
    steps.run("programs inside a pal", build::guest_programs);
    if !options.quick {
        steps.run("kernel for pals", || kernel::fetch().map(drop));
        let before = Traces::now()?;
        steps.run("a pal's day, twice", || {
            watched(root::program(&tree::program("cloudpal-e2e")?).arg("test"))
        });
        steps.run("nothing left behind", || before.compare(&Traces::now()?));
    }
    steps.sum_up()
}

/// Tests that make namespaces take root; the compiler does not, so only the test programs get it.
fn tests_as_root(arguments: &[&str]) -> Result<()> {
    let mut cargo = tree::cargo();
    if !root::are_we() {
        if !root::reachable() {
            bail!("the network tests make namespaces, which takes root; run `cargo xtask test` as root");
        }
        cargo.env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
            "sudo --preserve-env=CARGO_MANIFEST_DIR,PATH",
        );
    }
    watched(cargo.args(arguments))
}

/// What was run and how it ended.
#[derive(Default)]
struct Steps {
    only: Option<String>,
    passed: usize,
    failed: Vec<&'static str>,
}

impl Steps {
    fn run(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) {
        if self.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            return;
        }
        eprintln!("==> {name}");
        let start = Instant::now();
        let result = work();
        let took = start.elapsed().as_secs_f32();
        match result {
            Ok(()) => {
                println!("ok      {took:6.1} s  {name}");
                self.passed += 1;
            }
            Err(error) => {
                println!("FAILED  {took:6.1} s  {name}: {error:#}");
                self.failed.push(name);
            }
        }
    }

    fn sum_up(self) -> Result<()> {
        println!("{} passed, {} failed", self.passed, self.failed.len());
        if self.passed + self.failed.len() == 0 {
            bail!("no step has that name");
        }
        if !self.failed.is_empty() {
            bail!("failed: {}", self.failed.join(", "));
        }
        Ok(())
    }
}
