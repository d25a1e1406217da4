//! Doing things inside a network namespace, on a thread of its own.

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::process::Command;

/// Runs `work` inside the namespace and gives what it gives. Sockets opened there stay there.
pub fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let path = format!("/run/netns/{namespace}");
    let target = File::open(&path).with_context(|| format!("there is no namespace {path}"))?;
    std::thread::scope(|scope| {
        let inside = scope.spawn(move || {
            setns(&target, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {namespace}"))?;
            work()
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A program to be run inside the namespace.
pub fn command(namespace: &str, line: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).args(line.split_whitespace());
    command
}

/// Runs a program and gives its output; an error says what it said.
pub fn output(command: &mut Command) -> Result<String> {
    let out = command.output().with_context(|| format!("cannot start {command:?}"))?;
    anyhow::ensure!(
        out.status.success(),
        "{command:?} ended with {}: {}",
        out.status,
        String::from_utf8_lossy(&out.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
