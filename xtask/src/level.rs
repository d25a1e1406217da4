//! `cargo xtask level-suite`: abstract-level's own test suite against `clients/typescript` and a real server.

use crate::run::{command, output, step};
use crate::{build, npm, packages, tree};
use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

#[derive(clap::Args)]
pub struct Options {
    /// Print exactly one JSON object on standard output
    #[arg(long)]
    json: bool,
    /// Leave out Chromium
    #[arg(long)]
    node_only: bool,
}

const CLIENT: &str = "clients/typescript";
/// The suite had fewer tests if a feature were declared as missing; this is what it has without `getSync`, which no
/// database across a network can have.
const ASSERTIONS: u64 = 4670;

/// Builds client and server and runs everything.
pub fn suite(options: &Options) -> Result<()> {
    prepare()?;
    step("the program that serves", build::cli)?;
    let server = Server::start()?;
    let mut report = Map::new();
    report.insert("what".into(), json!("abstract-level 3.1.1's test suite on clients/typescript"));
    report.insert("commit".into(), json!(tree::commit()));
    report.insert("machine".into(), machine());
    report.insert("node".into(), step("the suite in Node.js", || server.run("node.mjs", &[]))?);
    step("the queue, documents and the README", || server.more_tests())?;
    if !options.node_only {
        let chromium = packages::install_chromium()?;
        let chromium = [("CHROMIUM", chromium.as_path())];
        report.insert(
            "chromium".into(),
            step("the suite in Chromium", || server.run("chromium.mjs", &chromium))?,
        );
        let tab = step("puts of a tab that was closed", || server.run("closed-tab.mjs", &chromium))?;
        report.insert("closed_tab".into(), tab);
    }
    let ok = ["node", "chromium"].iter().filter_map(|place| report.get(*place)).all(passed);
    report.insert("ok".into(), json!(ok));
    let report = Value::Object(report);
    if options.json {
        println!("{report}")
    } else {
        println!("{report:#}")
    }
    if !ok {
        bail!("the suite failed; the report says where");
    }
    Ok(())
}

/// What tests run: all of it but Chromium, with programs that are built already.
pub fn short() -> Result<()> {
    prepare()?;
    let client = |script: &str| {
        let mut npm = command("npm run --silent");
        npm.arg(script).current_dir(tree::root().join(CLIENT));
        crate::run::watched(npm)
    };
    client("lint")?;
    client("test")?;
    let server = Server::start()?;
    let sums = server.run("node.mjs", &[])?;
    if !passed(&sums) {
        bail!("abstract-level's suite: {sums}");
    }
    server.more_tests()
}

fn prepare() -> Result<()> {
    let folder = tree::root().join(CLIENT);
    npm::install(&folder)?;
    step("the client", || {
        let mut npm = command("npm run --silent build");
        npm.current_dir(&folder);
        crate::run::watched(npm)
    })
}

fn passed(sums: &Value) -> bool {
    sums["failed"] == 0 && sums["passed"] == sums["assertions"] && sums["passed"].as_u64() >= Some(ASSERTIONS)
}

/// A database in a folder of its own, served to whoever has its token. In [`DISPUTED`] two devices disagree.
struct Server {
    folder: PathBuf,
    child: Child,
    url: String,
    token: String,
}

/// Where two devices wrote the key `who` without knowing of each other. `suite/documents.mjs` and the README settle it.
const DISPUTED: [&str; 2] = ["documents/disputed", "notes/drafts"];

impl Server {
    fn start() -> Result<Server> {
        let folder = std::env::temp_dir().join(format!("cloudpal-level-{}", std::process::id()));
        let (laptop, phone) = (folder.join("laptop"), folder.join("phone"));
        for device in [&laptop, &phone] {
            fs::create_dir_all(device).with_context(|| format!("cannot make {}", device.display()))?;
        }
        output(db(&laptop, "create home")?)?;
        disagree(&laptop, &phone)?;
        let token = said(&output(db(&laptop, "token add --of home --label suite --write=")?)?, "token")?;
        let (child, line) = started(db(&laptop, "serve home --listen 127.0.0.1:0")?)?;
        let mut server = Server { folder, child, url: String::new(), token };
        server.url = said(&line, "url")?;
        Ok(server)
    }

    /// Runs one of the client's scripts and reads the object that it prints.
    fn run(&self, script: &str, more: &[(&str, &Path)]) -> Result<Value> {
        let mut node = self.node();
        node.arg(format!("suite/{script}")).envs(more.iter().copied());
        let out = node.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {script}"))?;
        let text = String::from_utf8_lossy(&out.stdout);
        serde_json::from_str(text.trim())
            .with_context(|| format!("suite/{script} ended with {}: {text}", out.status))
    }

    fn more_tests(&self) -> Result<()> {
        let mut tests = self.node();
        crate::run::watched(tests.args(["--test", "suite/queue.mjs", "suite/documents.mjs"]))?;
        self.run("readme.mjs", &[]).map(drop)
    }

    /// The token goes by the environment, which other users do not see.
    fn node(&self) -> Command {
        let mut node = command("node");
        node.current_dir(tree::root().join(CLIENT)).env("URL", &self.url).env("TOKEN", &self.token);
        node
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The folder goes as well, so nothing has to be closed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Lets the phone into the laptop's database, and then each writes what the other does not know.
fn disagree(laptop: &Path, phone: &Path) -> Result<()> {
    let key = said(&output(db(laptop, "info home")?)?, "key")?;
    let request = said(&output(db(phone, &format!("join home {key}"))?)?, "request")?;
    output(db(laptop, &format!("members home admit {request} --name phone"))?)?;
    meet(laptop, phone)?;
    for (device, name) in [(laptop, "laptop"), (phone, "phone")] {
        for sub in DISPUTED {
            output(db(device, &format!("put home who {name} --sub {sub}"))?)?;
        }
    }
    meet(laptop, phone)
}

/// Brings two devices up to date.
fn meet(laptop: &Path, phone: &Path) -> Result<()> {
    let (mut listening, line) = started(db(laptop, "listen home --listen 127.0.0.1:0")?)?;
    let synced =
        said(&line, "address").and_then(|address| output(db(phone, &format!("sync home --with {address}"))?));
    // It ends in order, so that all that came is on its disk.
    output(command(&format!("kill -s TERM {}", listening.id())))?;
    listening.wait().context("lost track of `cloudpal db listen`")?;
    synced.map(drop)
}

/// Starts a program that goes on, and reads the line by which it says that it is ready.
fn started(mut program: Command) -> Result<(Child, String)> {
    let mut child = program.stdout(Stdio::piped()).spawn().context("cannot start `cloudpal db`")?;
    let mut line = String::new();
    let stdout = child.stdout.take().context("`cloudpal db` has no standard output")?;
    BufReader::new(stdout).read_line(&mut line).context("`cloudpal db` said nothing")?;
    Ok((child, line))
}

/// `cloudpal db`, with a person and data of its own in `folder`.
fn db(folder: &Path, words: &str) -> Result<Command> {
    let program = tree::program("cloudpal")?;
    if !program.is_file() {
        bail!("{} is not built; run `cargo xtask level-suite`", program.display());
    }
    let mut cloudpal = Command::new(program);
    cloudpal.arg("--json").arg("--config").arg(folder.join("person")).arg("db");
    cloudpal.args(words.split(' ')).arg("--store").arg(folder.join("data"));
    Ok(cloudpal)
}

fn said(text: &str, name: &str) -> Result<String> {
    let said: Value = serde_json::from_str(text).with_context(|| format!("`cloudpal db` said {text:?}"))?;
    Ok(said[name].as_str().with_context(|| format!("`cloudpal db` did not say its {name}"))?.to_owned())
}

/// Cores, memory, kernel and hypervisor.
fn machine() -> Value {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    json!({
        "cores": std::thread::available_parallelism().map_or(0, |cores| cores.get()),
        "memory_bytes": kib.map(|kib| kib * 1024),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "hypervisor": read("/sys/class/dmi/id/sys_vendor"),
    })
}
