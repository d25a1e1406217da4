//! Starting and stopping the long-lived programs, each as a user of its own and with no more rights
//! than it needs.

use crate::state::{HOST_USER, MINT_USER, Started, State, person_user};
use anyhow::{Context as _, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Rights of the data centre's agent, which is not root. Everything else in the system has none.
const HOST_RIGHTS: [(&str, &str); 10] = [
    ("net_admin", "taps, TUN, routes, neighbours, nftables"),
    ("net_raw", "packet sockets that hand held datagrams over"),
    ("sys_admin", "making and entering the namespaces of tenants"),
    ("sys_ptrace", "reading the memory of a paused machine through /proc/PID/fd"),
    ("setuid", "starting machines as a user of their own"),
    ("setgid", "the same for the group"),
    ("setpcap", "taking every right away from machines before they start"),
    ("kill", "stopping machines, which run as another user"),
    ("chown", "handing tap and sockets to that user"),
    ("dac_override", "files in /run/netns and in the cgroup tree, which belong to root"),
];

/// Who runs a program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Party {
    Person,
    Host,
    Mint,
}

impl Party {
    pub fn folder(self) -> &'static str {
        match self {
            Party::Person => "person",
            Party::Host => "host",
            Party::Mint => "mint",
        }
    }

    fn user(self) -> u32 {
        match self {
            Party::Person => person_user(),
            Party::Host => HOST_USER,
            Party::Mint => MINT_USER,
        }
    }
}

/// One of our programs on its party's folder, with that party's user and rights.
pub fn program(state: &State, party: Party, name: &str) -> Command {
    let user = party.user().to_string();
    let rights = match party {
        Party::Host => {
            HOST_RIGHTS.iter().fold("-all".to_owned(), |list, (right, _)| format!("{list},+{right}"))
        }
        Party::Person | Party::Mint => "-all".to_owned(),
    };
    let folder = state.join(party.folder());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--no-new-privs"]);
    for set in ["--bounding-set", "--inh-caps", "--ambient-caps"] {
        command.args([set, &rights]);
    }
    command.arg("--").arg(state.program(name));
    command.arg(if party == Party::Person { "--config" } else { "--state" }).arg(&folder);
    command.current_dir(&folder).env("HOME", &folder);
    // A variable of the caller's must not lead a program to another person's or party's folder.
    for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"] {
        command.env_remove(name);
    }
    command
}

/// What a program that still runs said when it became ready; none if it does not run.
pub fn already(state: &State, party: Party, name: &str, known: &[Started]) -> Option<serde_json::Value> {
    known.iter().find(|started| started.name == name && started.alive())?;
    let said =
        fs::read_to_string(state.join(party.folder()).join("log").join(format!("{name}.ready"))).ok()?;
    serde_json::from_str(ready_line(&said).unwrap_or("null")).ok()
}

/// The whole line of JSON in what a program printed so far.
fn ready_line(said: &str) -> Option<&str> {
    said.split_inclusive('\n').find(|line| line.starts_with('{') && line.ends_with('\n'))
}

/// A long-lived program that was started, with what it prints on standard output.
pub struct Service {
    pub started: Started,
    child: Child,
    said: PathBuf,
    log: PathBuf,
}

impl Service {
    /// Starts `name serve ...` in a session of its own, so that Ctrl-C here does not reach it.
    pub fn start(state: &State, party: Party, name: &str, arguments: &[&str]) -> Result<Self> {
        let folder = state.join(party.folder()).join("log");
        let (said, log) = (folder.join(format!("{name}.ready")), folder.join(format!("{name}.log")));
        let _ = fs::remove_file(&said);
        let inner = program(state, party, name);
        let mut command = Command::new("setsid");
        command.arg(inner.get_program()).args(inner.get_args()).args(arguments);
        command.current_dir(state.join(party.folder()));
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(append(&said)?)
            .stderr(append(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let pid = child.id();
        let start =
            start_time(pid).with_context(|| format!("{name} ended at once; see {}", log.display()))?;
        Ok(Service { started: Started { name: name.to_owned(), pid, start }, child, said, log })
    }

    /// Waits for the one line of JSON by which it says that it is ready.
    pub fn ready(&mut self, patience: Duration) -> Result<serde_json::Value> {
        let name = &self.started.name;
        let since = Instant::now();
        loop {
            let said = fs::read_to_string(&self.said).unwrap_or_default();
            if let Some(line) = ready_line(&said) {
                return serde_json::from_str(line)
                    .with_context(|| format!("{name} said {line:?} when ready"));
            }
            if let Some(status) = self.child.try_wait().with_context(|| format!("lost track of {name}"))? {
                bail!(
                    "{name} ended with {status}; its log {} ends:\n{}",
                    self.log.display(),
                    tail(&self.log)
                );
            }
            if since.elapsed() > patience {
                bail!(
                    "{name} was not ready after {patience:?}; its log {} ends:\n{}",
                    self.log.display(),
                    tail(&self.log)
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Gives it a moment to fail, for a program that announces nothing.
    pub fn settled(&mut self) -> Result<()> {
        std::thread::sleep(Duration::from_millis(300));
        match self.child.try_wait().with_context(|| format!("lost track of {}", self.started.name))? {
            None => Ok(()),
            Some(status) => {
                bail!("{} ended with {status}; its log ends:\n{}", self.started.name, tail(&self.log))
            }
        }
    }
}

impl Started {
    /// Whether this very process is still there (a zombie is not).
    pub fn alive(&self) -> bool {
        start_time(self.pid) == Some(self.start)
    }

    /// Asks it to end, waits, and insists after `patience`. True when it had to be killed.
    pub fn stop(&self, patience: Duration) -> bool {
        if !self.alive() {
            return false;
        }
        self.signal("TERM");
        let since = Instant::now();
        while since.elapsed() < patience {
            if !self.alive() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.signal("KILL");
        while self.alive() && since.elapsed() < patience + Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    fn signal(&self, name: &str) {
        // The process may end between the look and the signal: then there is nothing left to do.
        let _ = crate::run::output(Command::new("kill").args(["-s", name, &self.pid.to_string()]));
    }
}

/// When a process started, in clock ticks after boot; none if it is gone or a zombie.
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces and brackets itself; fields go on after the last one.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn append(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The last lines of a log.
pub fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one_of_its_number() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let start = start_time(child.id()).unwrap();
        let started = Started { name: "sleep".into(), pid: child.id(), start };
        assert!(started.alive());
        assert!(!Started { start: start + 1, ..started.clone() }.alive());
        assert!(!started.stop(Duration::from_secs(10)), "sleep ends when asked");
        assert!(!started.alive());
        child.wait().unwrap();
    }
}
