use crate::choose::Hypervisor;
use crate::helper::Helper;
use crate::host::cgroup::Cgroup;
use crate::host::memory;
use crate::host::process::{Process, boot_id};
use crate::launch::{BootError, Life, launch, make_cgroup, make_memory};
use crate::qemu::qmp::{Qmp, QmpError};
use crate::running::{Handle, Running};
use crate::spec::MachineSpec;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian installs QEMU.
pub const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// Starts, restores and adopts machines with one hypervisor.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) hypervisor: Hypervisor,
    pub(crate) program: PathBuf,
    pub(crate) version: String,
    pub(crate) helper: Helper,
    pub(crate) tsc_khz: u64,
}

/// A machine that cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// It ended, or its process number means another process now.
    #[error("the machine {0} is no longer running: boot it cold")]
    Gone(String),
    /// It runs and does not answer.
    #[error("the machine {name} runs as process {pid} but does not answer: kill it and boot it cold")]
    Silent {
        /// The machine.
        name: String,
        /// Its process.
        pid: u32,
        /// Why.
        #[source]
        source: QmpError,
    },
}

impl Engine {
    /// Asks `program` for its version (some 20 ms), so make one engine and keep it.
    pub fn new(hypervisor: Hypervisor, program: &Path, helper: Helper) -> Result<Self, BootError> {
        let output = Command::new(program).arg("--version").env_clear().output();
        let output = output.map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => BootError::NotInstalled(program.to_owned()),
            _ => BootError::Start { program: program.to_owned(), source },
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().next().unwrap_or_default().to_owned();
        Ok(Engine { hypervisor, program: program.to_owned(), version, helper, tsc_khz: tsc_khz() })
    }

    /// The hypervisor's own version line.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Starts a machine cold. Returns when the hypervisor runs the guest; the guest needs seconds more.
    pub fn boot(&self, spec: &MachineSpec) -> Result<Running, BootError> {
        let cgroup = make_cgroup(spec)?;
        let launched = make_memory(spec).and_then(|memory| launch(self, spec, &cgroup, &memory, Life::Cold));
        let launched = match launched {
            Ok(launched) => launched,
            Err(error) => {
                let _ = cgroup.remove();
                return Err(error);
            }
        };
        match launched.connect() {
            Ok(_) => Ok(Running::new(launched, &self.helper)),
            Err(error) => {
                launched.discard();
                Err(error)
            }
        }
    }

    /// Takes over a machine that an earlier agent started, if it is the very same process and answers.
    pub fn adopt(&self, handle: &Handle) -> Result<Running, AdoptError> {
        let gone = || AdoptError::Gone(handle.name.clone());
        if boot_id().ok().as_ref() != Some(&handle.boot_id) {
            return Err(gone());
        }
        let process = Process::open(handle.pid).map_err(|_| gone())?;
        if process.start_time != handle.start_time || process.exited() {
            return Err(gone());
        }
        let silent = |source| AdoptError::Silent { name: handle.name.clone(), pid: handle.pid, source };
        Qmp::connect(&handle.qmp_path()).and_then(|mut qmp| qmp.status()).map_err(silent)?;
        let cgroup = Cgroup::locate(&handle.cgroup_parent, &handle.name).map_err(|_| gone())?;
        let log = memory::of_process(handle.pid, 2).map_err(|_| gone())?;
        let launched = crate::launch::Launched { handle: handle.clone(), process, cgroup, log };
        Ok(Running::new(launched, &self.helper))
    }
}

/// The time stamp counter's speed as the host's kernel prints it.
fn tsc_khz() -> u64 {
    const GUESS: u64 = 2_000_000;
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let megahertz = text
        .lines()
        .find_map(|line| line.strip_prefix("cpu MHz")?.split(':').nth(1)?.trim().parse::<f64>().ok());
    megahertz.map_or(GUESS, |megahertz| (megahertz * 1000.0) as u64)
}
