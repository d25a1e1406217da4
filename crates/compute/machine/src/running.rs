use crate::helper::Helper;
use crate::host::cgroup::{Cgroup, CgroupError, Stats};
use crate::host::memory;
use crate::host::process::Process;
use crate::launch::{Launched, remove_sockets};
use crate::qemu::qmp::{Qmp, QmpError};
use crate::spec::RunAs;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Says which process a machine is, so that the next agent can take it over. Keep it in the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    /// The machine's name.
    pub name: String,
    /// Process id of its hypervisor.
    pub pid: u32,
    /// When that process started, in clock ticks since the host booted.
    pub start_time: u64,
    /// Which boot of the host that was.
    pub boot_id: String,
    /// Folder of its sockets.
    pub run_dir: PathBuf,
    pub(crate) memory_descriptor: i32,
    pub(crate) memory_bytes: u64,
    pub(crate) run_as: RunAs,
    pub(crate) cgroup_parent: String,
    pub(crate) shape: String,
    pub(crate) hypervisor: String,
}

impl Handle {
    pub(crate) fn qmp_path(&self) -> PathBuf {
        self.run_dir.join("qmp")
    }

    pub(crate) fn clear_files(&self) {
        remove_sockets(&self.run_dir);
    }

    /// Removes what a machine left behind whose process is gone: sockets and control group.
    pub fn clear(&self) -> Result<(), CgroupError> {
        self.clear_files();
        Cgroup::locate(&self.cgroup_parent, &self.name)?.remove()
    }
}

/// Kills every process in the control group of the machine `name`, and removes the group. For what an
/// agent left behind that died between starting a machine and storing its [`Handle`].
pub fn clear_leftovers(cgroup_parent: &str, name: &str) -> Result<(), MachineError> {
    let cgroup = Cgroup::locate(cgroup_parent, name)?;
    for pid in cgroup.processes() {
        // One that ended meanwhile is what was wanted.
        let Ok(process) = Process::open(pid) else { continue };
        process.kill().map_err(|source| MachineError::Kill { name: name.to_owned(), pid, source })?;
    }
    Ok(cgroup.remove()?)
}

/// Removes the control group that held all machines; they must be gone.
pub fn remove_cgroup_parent(cgroup_parent: &str) -> Result<(), MachineError> {
    Ok(Cgroup::remove_parent(cgroup_parent)?)
}

/// Something asked of a running machine that failed.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The hypervisor.
    #[error("could not {what} the machine {name}")]
    Qmp {
        /// What was tried.
        what: &'static str,
        /// The machine.
        name: String,
        /// Why.
        #[source]
        source: QmpError,
    },
    /// The agent channel.
    #[error("could not connect to the guest of machine {name}: the machine may have ended")]
    Channel {
        /// The machine.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its process.
    #[error("could not end process {pid} of machine {name}")]
    Kill {
        /// The machine.
        name: String,
        /// Its process.
        pid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its control group.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

/// A machine whose hypervisor runs. Dropping it leaves the machine alone.
#[derive(Debug)]
pub struct Running {
    pub(crate) handle: Handle,
    pub(crate) process: Process,
    pub(crate) cgroup: Cgroup,
    pub(crate) helper: Helper,
    log: File,
}

impl Running {
    pub(crate) fn new(launched: Launched, helper: &Helper) -> Self {
        let Launched { handle, process, cgroup, log } = launched;
        Running { handle, process, cgroup, helper: helper.clone(), log }
    }

    /// What the next agent needs to take it over.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Connects to the guest's port `cloudpal`. A second connection waits until the first is dropped.
    pub fn channel(&self) -> Result<UnixStream, MachineError> {
        UnixStream::connect(self.handle.run_dir.join("channel"))
            .map_err(|source| MachineError::Channel { name: self.handle.name.clone(), source })
    }

    /// Stops the guest's processors; everything stays in memory.
    pub fn pause(&self) -> Result<(), MachineError> {
        self.ask("pause", "stop")
    }

    /// Lets the guest go on.
    pub fn resume(&self) -> Result<(), MachineError> {
        self.ask("resume", "cont")
    }

    /// Whether the guest's processors run now.
    pub fn is_running(&self) -> Result<bool, MachineError> {
        let asked = Qmp::connect(&self.handle.qmp_path()).and_then(|mut qmp| qmp.status());
        asked.map(|status| status == "running").map_err(|source| self.failed("ask", source))
    }

    /// Whether its process has ended, by itself or not.
    pub fn exited(&self) -> bool {
        self.process.exited()
    }

    /// Waits at most this long for its process to end; true if it did.
    pub fn wait(&self, limit: Duration) -> bool {
        self.process.wait(limit)
    }

    /// Ends it at once and removes its sockets and control group. Also right when it has ended.
    pub fn kill(&self) -> Result<(), MachineError> {
        let (name, pid) = (self.handle.name.clone(), self.handle.pid);
        self.process.kill().map_err(|source| MachineError::Kill { name, pid, source })?;
        self.handle.clear_files();
        Ok(self.cgroup.remove()?)
    }

    /// What it has used of the host.
    pub fn stats(&self) -> Stats {
        self.cgroup.stats()
    }

    /// The last 64 KiB of its serial console, while its process lives.
    pub fn console(&self) -> Result<String, MachineError> {
        let read = json!({ "device": "console", "size": 65536 });
        let asked =
            Qmp::connect(&self.handle.qmp_path()).and_then(|mut qmp| qmp.execute("ringbuf-read", read));
        let text = asked.map_err(|source| self.failed("read the console of", source))?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// The hypervisor's own messages, also after it ended.
    pub fn hypervisor_log(&self) -> String {
        memory::text(&self.log)
    }

    fn ask(&self, what: &'static str, command: &str) -> Result<(), MachineError> {
        let asked = Qmp::connect(&self.handle.qmp_path())
            .and_then(|mut qmp| qmp.execute(command, Value::Object(Default::default())));
        asked.map(drop).map_err(|source| self.failed(what, source))
    }

    fn failed(&self, what: &'static str, source: QmpError) -> MachineError {
        MachineError::Qmp { what, name: self.handle.name.clone(), source }
    }
}
