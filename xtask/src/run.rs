//! Running other programs: one line of progress for each step, and errors that name the command.

use anyhow::{Context as _, Result, bail};
use std::borrow::BorrowMut;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

/// Says what is being done on standard error, and how long it took if that was over a second.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("==> {what}");
    let start = Instant::now();
    let done = work().with_context(|| what.to_owned())?;
    let took = start.elapsed().as_secs_f32();
    if took > 1.0 {
        eprintln!("    {took:.1} s");
    }
    Ok(done)
}

/// Runs a command and gives its standard output; its standard error becomes the error's text.
pub fn output(mut command: impl BorrowMut<Command>) -> Result<String> {
    let command = command.borrow_mut().stdin(Stdio::null());
    let out = command.output().with_context(|| format!("cannot start {}", shown(command)))?;
    said(command, &out)
}

/// The same for a command that reads `input`, which shows in no list of processes and no error.
pub fn output_of(mut command: impl BorrowMut<Command>, input: &str) -> Result<String> {
    let command = command.borrow_mut().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", shown(command)))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why by itself.
        let _ = writeln!(stdin, "{input}");
    }
    let out = child.wait_with_output().with_context(|| format!("lost track of {}", shown(command)))?;
    said(command, &out)
}

fn said(command: &Command, out: &Output) -> Result<String> {
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        let said = if said.trim().is_empty() { String::from_utf8_lossy(&out.stdout) } else { said };
        bail!("{} ended with {}: {}", shown(command), out.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Runs a command whose progress the person watches: everything it prints goes to standard error.
pub fn watched(mut command: impl BorrowMut<Command>) -> Result<()> {
    let command = command.borrow_mut();
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}; what it printed above says why", shown(command));
    }
    Ok(())
}

/// `program` with arguments, in one go.
pub fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// A program on PATH, or in the folders of system programs that a person's PATH may lack.
pub fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(Into::into))
        .any(|folder| folder.join(name).is_file())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    format!("`{line}`")
}
