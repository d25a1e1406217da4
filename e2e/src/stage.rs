//! The stage: seller, data centre, person and pal, brought up by `xtask up` in a folder of its own, and
//! every program reached as its own party.

use anyhow::{Context as _, Result, bail, ensure};
use cloudpal_core::{PalId, SeedPhrase};
use serde::Deserialize;
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// `up.json`, as far as it is needed here.
#[derive(Clone, Debug, Deserialize)]
pub struct Up {
    pub commit: String,
    pub machine: Value,
    pub mint: Party,
    pub host: Party,
    pub pal: Pal,
    pub cli: Cli,
    pub namespaces: Namespaces,
    pub run: Run,
    pub time_scale: Value,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Party {
    pub url: String,
    pub pid: u32,
    pub state: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Pal {
    pub id: PalId,
    pub name: String,
    pub public_address: Ipv4Addr,
    pub overlay_v4: Ipv4Addr,
    pub wireguard: WireGuard,
}

#[derive(Clone, Debug, Deserialize)]
pub struct WireGuard {
    pub endpoint: std::net::SocketAddr,
    pub conf: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Cli {
    pub config: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Namespaces {
    pub client: Namespace,
    pub internet: Namespace,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Namespace {
    pub name: String,
    pub v4: Ipv4Addr,
    pub gateway_v4: Ipv4Addr,
}

/// How each program is run as its party.
#[derive(Clone, Debug, Deserialize)]
pub struct Run {
    pub person: Vec<String>,
    pub host: Vec<String>,
    pub mint: Vec<String>,
}

/// How a stage is set.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Worth of the first voucher, cpm.
    pub voucher: u64,
    /// Handed to the pal at once, cpm.
    pub credit: u64,
    /// Seconds without use until sleep.
    pub idle_s: u32,
    /// Metered seconds per real second.
    pub meter_scale: u32,
}

/// A stage that is up. Taken down and deleted when dropped.
pub struct Stage {
    pub up: Up,
    dir: PathBuf,
    setting: Setting,
}

/// A pal as its owner sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct Seen {
    pub state: String,
    pub wakes: u64,
    pub boots: u64,
    pub notice: Option<String>,
    pub paid_milli_cpm: u64,
    pub consumed_milli_cpm: u64,
    pub held_cpm: Option<u64>,
    pub runs_out_unix_ms: Option<u64>,
    pub kept_until_unix_ms: Option<u64>,
}

/// Where credit is, in thousandths of a cpm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Used up by the pal.
    pub spent_milli: u64,
    /// In the purse, with the pal and with the host.
    pub left_milli: u64,
}

/// A pal as its operator sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct Operated {
    pub info: Info,
    pub machine_pid: Option<u32>,
    pub machine_start: Option<u64>,
    pub doorbell: Value,
}

/// The part of it that its owner sees too.
#[derive(Clone, Debug, Deserialize)]
pub struct Info {
    pub state: String,
    pub boots: u64,
    pub memory_mib: u32,
}

impl Stage {
    /// Brings everything up in a new folder.
    pub fn set(setting: &Setting) -> Result<Self> {
        let mut number = [0; 4];
        getrandom::fill(&mut number).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let dir = PathBuf::from(format!("/var/tmp/cloudpal-e2e-{}", hex::encode(number)));
        tidy_up_when_interrupted(dir.clone())?;
        let up = match bring_up(&dir, setting) {
            Ok(up) => up,
            Err(error) => {
                keep_logs(&dir);
                take_down(&dir);
                return Err(error);
            }
        };
        Ok(Stage { up, dir, setting: setting.clone() })
    }

    /// Starts again what has ended, as a supervisor would.
    pub fn mend(&mut self) -> Result<()> {
        self.up = bring_up(&self.dir, &self.setting)?;
        Ok(())
    }

    /// Runs `cloudpal ... --json` as the person.
    pub fn cloudpal(&self, arguments: &[&str]) -> Result<Value> {
        self.cloudpal_with(arguments, "")
    }

    /// The same with something on standard input.
    pub fn cloudpal_with(&self, arguments: &[&str], input: &str) -> Result<Value> {
        let (code, out, err) = self.attempt(arguments, input)?;
        ensure!(code == 0, "`cloudpal {}` ended with {code}: {}", arguments.join(" "), err.trim());
        serde_json::from_str(&out).with_context(|| format!("`cloudpal {}` said {out:?}", arguments.join(" ")))
    }

    /// Runs `cloudpal ... --json` whatever comes of it: exit code, output and errors.
    pub fn attempt(&self, arguments: &[&str], input: &str) -> Result<(i32, String, String)> {
        run(&self.up.run.person, &[arguments, &["--json"]].concat(), input)
    }

    /// The same as another person, with a folder of their own.
    pub fn attempt_as_stranger(&self, arguments: &[&str], input: &str) -> Result<(i32, String, String)> {
        let (folder, prefix) =
            self.up.run.person.split_last().context("up.json does not say how to run cloudpal")?;
        let prefix = [prefix, &[format!("{folder}/stranger")]].concat();
        run(&prefix, &[arguments, &["--json"]].concat(), input)
    }

    /// Runs `cloudpal-host ...` as the data centre.
    pub fn host(&self, arguments: &[&str]) -> Result<String> {
        let (code, out, err) = run(&self.up.run.host, arguments, "")?;
        ensure!(code == 0, "`cloudpal-host {}` ended with {code}: {}", arguments.join(" "), err.trim());
        Ok(out)
    }

    /// Runs `cloudpal-mint ...` as the seller.
    pub fn mint(&self, arguments: &[&str]) -> Result<String> {
        let (code, out, err) = run(&self.up.run.mint, arguments, "")?;
        ensure!(code == 0, "`cloudpal-mint {}` ended with {code}: {}", arguments.join(" "), err.trim());
        Ok(out)
    }

    /// Whom the pal's machine runs as: each has a user of its own, numbered by its address.
    pub fn machine_user(&self) -> u32 {
        let [_, _, high, low] = self.up.pal.public_address.octets();
        1_000_000 + u32::from(u16::from_be_bytes([high, low]))
    }

    /// A voucher from the mint's operator.
    pub fn voucher(&self, cpm: u64) -> Result<String> {
        let printed: Value = serde_json::from_str(&self.mint(&["voucher", &cpm.to_string(), "--json"])?)?;
        printed["vouchers"][0].as_str().map(str::to_owned).context("cloudpal-mint printed no voucher")
    }

    /// The pal as its owner sees it.
    pub fn seen(&self) -> Result<Seen> {
        let status = self.cloudpal(&["status", &self.up.pal.name])?;
        let pal = status["pals"].get(0).cloned().context("`cloudpal status` shows no pal")?;
        serde_json::from_value(pal).context("`cloudpal status`")
    }

    /// The pal as its operator sees it.
    pub fn operated(&self) -> Result<Operated> {
        let pals: Vec<Operated> =
            serde_json::from_str(&self.host(&["status", "--json"])?).context("host status")?;
        pals.into_iter().next().context("the host has no pal")
    }

    /// The folder of all state; scratch files of a run go there too, and are deleted with it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Credit the person has in all, by where it is.
    pub fn credit(&self) -> Result<Credit> {
        let purse = self.cloudpal(&["credit", "balance"])?;
        let purses = purse["purses"].as_array().cloned().unwrap_or_default();
        let in_purse = |field: &str| purses.iter().filter_map(|one| one[field].as_u64()).sum::<u64>();
        let seen = self.seen()?;
        let held = seen.held_cpm.context("only an awake pal says what it holds")?;
        let kept = in_purse("free_cpm") + in_purse("locked_cpm") + held;
        Ok(Credit {
            spent_milli: seen.consumed_milli_cpm,
            left_milli: kept * 1000 + seen.paid_milli_cpm.saturating_sub(seen.consumed_milli_cpm),
        })
    }

    /// Waits until the pal is in a state.
    pub fn wait_for(&self, state: &str, patience: Duration) -> Result<Seen> {
        let since = Instant::now();
        let mut told = Instant::now();
        loop {
            // The agent may be between two lives.
            match self.seen() {
                Ok(seen) if seen.state == state => return Ok(seen),
                Ok(seen) if since.elapsed() > patience => {
                    bail!("the pal is {} and not {state} after {patience:?}", seen.state)
                }
                Err(error) if since.elapsed() > patience => return Err(error),
                _ => {}
            }
            if told.elapsed() > Duration::from_secs(20) {
                eprintln!("    still waiting until it is {state} ({} s)", since.elapsed().as_secs());
                told = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// Puts the pal to sleep at once.
    pub fn sleep_now(&self) -> Result<()> {
        self.cloudpal(&["sleep", &self.up.pal.name]).map(drop)
    }

    /// The person's seed phrase, to know which keys to look for.
    pub fn seed(&self) -> Result<SeedPhrase> {
        let path = self.up.cli.config.join("seed");
        let words = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(SeedPhrase::parse(&words)?)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            keep_logs(&self.dir);
        }
        take_down(&self.dir);
    }
}

/// Says the ends of all logs: the folder is about to be deleted.
pub fn keep_logs(dir: &Path) {
    for party in ["mint", "host", "person"] {
        for log in fs::read_dir(dir.join(party).join("log")).into_iter().flatten().flatten() {
            if log.path().extension().is_none_or(|end| end != "log") {
                continue;
            }
            let text = fs::read_to_string(log.path()).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            if !last.is_empty() {
                eprintln!("--- end of {}:\n{}", log.path().display(), last.join("\n"));
            }
        }
    }
}

impl Stage {
    /// Says the ends of all logs.
    pub fn show_logs(&self) {
        keep_logs(&self.dir);
    }
}

fn bring_up(dir: &Path, setting: &Setting) -> Result<Up> {
    let numbers = [
        ("--voucher", setting.voucher),
        ("--credit", setting.credit),
        ("--idle-s", setting.idle_s.into()),
        ("--meter-scale", setting.meter_scale.into()),
    ];
    let mut up = xtask()?;
    up.args(["up", "--prepared", "--detach", "--json", "--state"]).arg(dir);
    up.args(numbers.iter().flat_map(|(name, value)| [(*name).to_owned(), value.to_string()]));
    let out = up.stderr(Stdio::inherit()).output().context("cannot start xtask")?;
    ensure!(out.status.success(), "`xtask up` ended with {}", out.status);
    serde_json::from_slice(&out.stdout).context("what `xtask up` printed")
}

/// Ctrl-C must leave nothing behind either.
fn tidy_up_when_interrupted(dir: PathBuf) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot watch for Ctrl-C")?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            eprintln!("\n==> interrupted; taking everything down");
            take_down(&dir);
            std::process::exit(1);
        }
    });
    Ok(())
}

fn take_down(dir: &Path) {
    if !dir.exists() {
        return;
    }
    let down = xtask().and_then(|mut down| {
        let status =
            down.args(["down", "--purge", "--state"]).arg(dir).status().context("cannot start xtask")?;
        ensure!(status.success(), "`xtask down` ended with {status}");
        Ok(())
    });
    if let Err(error) = down {
        eprintln!("    {}: {error:#}", dir.display());
    }
}

/// The xtask that was built beside this program.
fn xtask() -> Result<Command> {
    let me = std::env::current_exe().context("cannot find out where this program lies")?;
    let mut xtask = Command::new(me.with_file_name("xtask"));
    xtask.stdin(Stdio::null());
    Ok(xtask)
}

fn run(prefix: &[String], arguments: &[&str], input: &str) -> Result<(i32, String, String)> {
    let (program, first) = prefix.split_first().context("up.json does not say how to run the program")?;
    let mut command = Command::new(program);
    command.args(first).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why by itself.
        let _ = writeln!(stdin, "{input}");
    }
    let out = child.wait_with_output().with_context(|| format!("lost track of {program}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr)))
}
