//! Starts both sides of a row and reads what they print.

use crate::rows::{Way, Work};
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Our crates.
    Ours,
    /// npm's packages.
    Npm,
    /// The engine below ours, alone.
    Fjall,
}

/// What a process says it did.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Said {
    /// Things done.
    pub count: u64,
    /// In so long.
    pub seconds: f64,
    /// The most memory it had, resident.
    pub peak_bytes: u64,
    /// Bytes of files it left, where that is of interest.
    pub disk_bytes: Option<u64>,
    /// Bytes of keys and values among them.
    pub live_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Serving {
    port: u16,
    key: String,
}

#[derive(Deserialize)]
struct Served {
    peak_bytes: u64,
}

/// Where programs and data are.
pub struct Stage {
    /// This program.
    pub me: PathBuf,
    /// The folder with `bench.mjs` and its packages.
    pub peers: PathBuf,
    /// Where stores are made.
    pub folder: tempfile::TempDir,
}

impl Stage {
    /// Makes what the measured processes of a work will find, once for each side.
    pub fn prepare(&self, work: &Work, sides: &[Side]) -> Result<()> {
        let Some((task, amount)) = &work.prepare else { return Ok(()) };
        for side in sides {
            let folder = self.place(work, &format!("{side:?}"))?;
            self.alone(*side, task, &folder, amount)?;
        }
        Ok(())
    }

    /// One measured run of one way.
    pub fn measure(&self, work: &Work, way: &Way, number: usize) -> Result<Said> {
        let (task, ours) = &work.measure;
        let theirs = matches!(way, Way::Alone(Side::Npm | Side::Fjall));
        let amount = work.theirs_amount.as_ref().filter(|_| theirs).unwrap_or(ours);
        let fresh = |side: Side| self.place(work, &format!("{side:?}-{number}"));
        match way {
            Way::Alone(side) if work.prepare.is_some() => {
                self.alone(*side, task, &self.place(work, &format!("{side:?}"))?, amount)
            }
            Way::Alone(side) => {
                let folder = fresh(*side)?;
                let said = self.alone(*side, task, &folder, amount);
                remove(&folder);
                said
            }
            Way::Between { server, client } => {
                let target = self.place(work, &format!("{server:?}-{client:?}-{number}"))?;
                let said = self.between(
                    *server,
                    &self.place(work, &format!("{server:?}"))?,
                    *client,
                    &target,
                    amount,
                );
                remove(&target);
                said
            }
        }
    }

    /// Takes away everything of a work.
    pub fn clear(&self, work: &Work) {
        remove(&self.folder.path().join(work.name));
    }

    /// A command for one task of one side.
    pub fn command(&self, side: Side, task: &str, folder: &Path) -> Command {
        let mut command = match side {
            Side::Npm => {
                let mut node = Command::new("node");
                let script = if task.starts_with("db_") { "db.mjs" } else { "bench.mjs" };
                node.arg(self.peers.join(script)).arg(task);
                node
            }
            Side::Ours | Side::Fjall => {
                let mut ours = Command::new(&self.me);
                ours.arg("work");
                ours.arg(if side == Side::Fjall { format!("fjall_{task}") } else { task.to_owned() });
                ours
            }
        };
        command.arg(folder).stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    fn place(&self, work: &Work, name: &str) -> Result<PathBuf> {
        let folder = self.folder.path().join(work.name).join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    fn alone(&self, side: Side, task: &str, folder: &Path, amount: &[u64]) -> Result<Said> {
        let mut command = self.command(side, task, folder);
        command.args(amount.iter().map(u64::to_string));
        let child = command.spawn().with_context(|| format!("cannot start {side:?} for {task}"))?;
        finish(child).with_context(|| format!("{side:?} failed at {task}"))
    }

    fn between(&self, server: Side, from: &Path, client: Side, to: &Path, amount: &[u64]) -> Result<Said> {
        let mut serve = self.command(server, "serve", from);
        let mut serving = Running::start(serve.stdin(Stdio::piped()))?;
        let at: Serving = serving.line().with_context(|| format!("{server:?} does not serve"))?;
        let mut fetch = self.command(client, "fetch", to);
        fetch.args(amount.iter().map(u64::to_string)).arg(at.port.to_string()).arg(at.key);
        let fetched = fetch.spawn().context("cannot start who fetches").and_then(finish::<Said>);
        drop(serving.child.stdin.take());
        let served: Result<Served> = serving.line();
        let said = fetched.with_context(|| format!("{client:?} failed to fetch from {server:?}"))?;
        // With npm at one end only ours is of interest.
        let peak_bytes = match (server, client) {
            (Side::Ours, Side::Npm) => served?.peak_bytes,
            (Side::Npm, Side::Ours) => said.peak_bytes,
            _ => said.peak_bytes.max(served?.peak_bytes),
        };
        Ok(Said { peak_bytes, ..said })
    }
}

/// A process that goes on, and is killed when nobody wants it any more.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.spawn().context("cannot start who serves")?;
        let out = BufReader::new(child.stdout.take().context("its output was asked for")?);
        Ok(Self { child, out })
    }

    fn line<T: for<'a> Deserialize<'a>>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a process that says one line.
pub fn finish<T: for<'a> Deserialize<'a>>(child: Child) -> Result<T> {
    let out = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    if !out.status.success() {
        bail!("it ended with {}; what it printed above says why", out.status);
    }
    serde_json::from_str(text.lines().last().unwrap_or_default()).with_context(|| format!("it said {text:?}"))
}

fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        eprintln!("    cannot remove {}: {error}", folder.display());
    }
}
