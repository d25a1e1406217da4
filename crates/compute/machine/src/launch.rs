//! Starting a hypervisor process, cold or to be restored into.

use crate::choose::Hypervisor;
use crate::engine::Engine;
use crate::host::cgroup::{Cgroup, CgroupError, Limits};
use crate::host::confine::{Confinement, confine};
use crate::host::memory;
use crate::host::process::{Process, boot_id};
use crate::host::tap::TapDoor;
use crate::qemu::command::{self, Descriptors, Start};
use crate::qemu::qmp::{Qmp, QmpError};
use crate::running::Handle;
use crate::spec::{Access, MachineSpec};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Hypervisor memory beyond the guest's, in bytes: its own, translated code, page cache of the disks.
const OVERHEAD_BYTES: u64 = 256 << 20;
const TASKS: u32 = 64;
/// Machines go before the agent when memory is short: one cold boot against all.
const OOM_SCORE: i32 = 300;
/// Bytes of the hypervisor's own messages that are kept.
const LOG_BYTES: u64 = 16 * 1024;
const SOCKETS: [&str; 2] = ["qmp", "channel"];

/// A machine that did not start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The spec.
    #[error("this machine cannot be started: {0}")]
    Spec(String),
    /// A folder or file of its own.
    #[error("could not {what} {path} for the machine")]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Guest memory.
    #[error("could not set aside {mib} MiB of guest memory")]
    Memory {
        /// How much.
        mib: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its control group.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// It runs already. Two hypervisors on one disk would destroy it.
    #[error(
        "a machine named {name} still runs (processes {processes:?}): adopt it, or clear what is left of it"
    )]
    Busy {
        /// The machine.
        name: String,
        /// Its processes.
        processes: Vec<u32>,
    },
    /// The hypervisor is not there.
    #[error(
        "{0} is not there: install Debian's package qemu-system-x86 (`apt-get install --no-install-recommends \
         qemu-system-x86`)"
    )]
    NotInstalled(PathBuf),
    /// Its tap device.
    #[error("{said}; it must exist in the machine's network namespace and belong to the machine's user")]
    Tap {
        /// Which, as the new process told it.
        said: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The hypervisor could not be started.
    #[error("could not start {program}; the agent needs root rights to confine it")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The hypervisor gave up.
    #[error("the hypervisor ended at once; it said: {said}")]
    Ended {
        /// Its own words.
        said: String,
    },
    /// The hypervisor does not answer.
    #[error("the hypervisor does not answer as it should")]
    Qmp(#[from] QmpError),
}

/// Cold, or waiting for device state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Cold,
    Incoming,
}

/// A hypervisor process that was started and has not answered yet.
pub(crate) struct Launched {
    pub handle: Handle,
    pub process: Process,
    pub cgroup: Cgroup,
    /// The hypervisor's messages.
    pub log: File,
}

impl Launched {
    /// Connects as soon as the hypervisor is ready.
    pub fn connect(&self) -> Result<Qmp, BootError> {
        Qmp::connect(&self.handle.qmp_path()).map_err(|error| self.explain(error))
    }

    /// Why the hypervisor broke off: its own words if it ended.
    pub fn explain(&self, error: QmpError) -> BootError {
        match self.process.wait(Duration::from_millis(100)) {
            true => BootError::Ended { said: memory::text(&self.log) },
            false => BootError::Qmp(error),
        }
    }

    /// Ends it and removes what it had.
    pub fn discard(&self) {
        let _ = self.process.kill();
        self.handle.clear_files();
        if let Err(error) = self.cgroup.remove() {
            tracing::warn!(machine = self.handle.name, %error, "a control group was left behind");
        }
    }
}

/// Makes the machine's control group. Restoring wants it before the hypervisor is there.
pub(crate) fn make_cgroup(spec: &MachineSpec) -> Result<Cgroup, BootError> {
    if let Some(problem) = spec.problem() {
        return Err(BootError::Spec(problem));
    }
    let cgroup = Cgroup::locate(&spec.cgroup_parent, &spec.name)?;
    let processes = cgroup.processes();
    if !processes.is_empty() {
        return Err(BootError::Busy { name: spec.name.clone(), processes });
    }
    cgroup.create(Limits { memory_bytes: spec.memory_bytes() + OVERHEAD_BYTES, tasks: TASKS })?;
    Ok(cgroup)
}

/// An empty guest memory.
pub(crate) fn make_memory(spec: &MachineSpec) -> Result<File, BootError> {
    memory::create("guest-memory", spec.memory_bytes())
        .map_err(|source| BootError::Memory { mib: spec.memory_mib, source })
}

/// Starts the hypervisor on `guest_memory`. On failure nothing is left but the control group, which the caller removes.
pub(crate) fn launch(
    engine: &Engine,
    spec: &MachineSpec,
    cgroup: &Cgroup,
    guest_memory: &File,
    life: Life,
) -> Result<Launched, BootError> {
    let launched = try_launch(engine, spec, cgroup, guest_memory, life);
    if launched.is_err() {
        remove_sockets(&spec.run_dir);
    }
    launched
}

fn try_launch(
    engine: &Engine,
    spec: &MachineSpec,
    cgroup: &Cgroup,
    guest_memory: &File,
    life: Life,
) -> Result<Launched, BootError> {
    let sockets = listen(&spec.run_dir)?;
    let mut keep: Vec<i32> = vec![guest_memory.as_raw_fd(), sockets[0].as_raw_fd(), sockets[1].as_raw_fd()];
    let disks = open_disks(spec)?;
    let tap = spec.nic.as_ref().map(|nic| TapDoor::new(&nic.tap)).transpose();
    let tap = tap.map_err(at("make room for", Path::new("the tap device")))?;
    let descriptors = Descriptors {
        memory: keep[0],
        qmp: keep[1],
        channel: keep[2],
        disks: disks.iter().map(AsRawFd::as_raw_fd).collect(),
        tap: tap.as_ref().map(TapDoor::descriptor),
    };
    keep.extend(descriptors.disks.iter().chain(&descriptors.tap));
    let boot_files = match life {
        Life::Cold => vec![open("read", &spec.kernel)?, open("read", &spec.initrd)?],
        Life::Incoming => Vec::new(),
    };
    keep.extend(boot_files.iter().map(AsRawFd::as_raw_fd));
    let start = match boot_files.as_slice() {
        [kernel, initrd] => {
            Start::Cold { kernel: kernel.as_raw_fd(), initrd: initrd.as_raw_fd(), tsc_khz: engine.tsc_khz }
        }
        _ => Start::Incoming,
    };
    let log = memory::bounded("hypervisor-log", LOG_BYTES).map_err(|source| BootError::File {
        what: "make",
        path: "the hypervisor's log".into(),
        source,
    })?;
    let mut command = Command::new(&engine.program);
    command.args(command::arguments(engine.hypervisor, spec, &descriptors, &start));
    command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(clone(&log)?);
    confine(
        &mut command,
        Confinement {
            run_as: spec.run_as,
            groups: device_groups(engine.hypervisor),
            netns: spec.netns.as_deref().map(|path| open("enter", path)).transpose()?,
            tap,
            cgroups: cgroup.entrances()?,
            keep,
            oom_score: OOM_SCORE,
        },
    );
    let process = spawn(&mut command, &engine.program, &log)?;
    let handle = Handle {
        name: spec.name.clone(),
        pid: process.pid,
        start_time: process.start_time,
        boot_id: boot_id().map_err(|source| BootError::File {
            what: "read",
            path: "the host's boot id".into(),
            source,
        })?,
        run_dir: spec.run_dir.clone(),
        memory_descriptor: descriptors.memory,
        memory_bytes: spec.memory_bytes(),
        run_as: spec.run_as,
        cgroup_parent: spec.cgroup_parent.clone(),
        shape: spec.shape(),
        hypervisor: engine.version.clone(),
    };
    Ok(Launched { handle, process, cgroup: cgroup.clone(), log })
}

fn spawn(command: &mut Command, program: &Path, log: &File) -> Result<Process, BootError> {
    let child = command.spawn().map_err(|source| match (memory::text(log), source.kind()) {
        (said, _) if !said.is_empty() => BootError::Tap { said, source },
        (_, io::ErrorKind::NotFound) => BootError::NotInstalled(program.to_owned()),
        _ => BootError::Start { program: program.to_owned(), source },
    })?;
    // From here on it is known by its descriptor; it is reaped when its end is noticed.
    Process::open(child.id()).map_err(|source| BootError::Start { program: program.to_owned(), source })
}

/// Both sockets listen before the hypervisor starts, so nobody has to wait for them to appear, and
/// its user needs no right to make files.
fn listen(run_dir: &Path) -> Result<[UnixListener; 2], BootError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(run_dir).map_err(at("make", run_dir))?;
    let one = |name: &str| {
        let path = run_dir.join(name);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(at("replace", &path)(error));
        }
        UnixListener::bind(&path).map_err(at("listen on", &path))
    };
    Ok([one(SOCKETS[0])?, one(SOCKETS[1])?])
}

/// Removes what [`listen`] made.
pub(crate) fn remove_sockets(run_dir: &Path) {
    for name in SOCKETS {
        let _ = fs::remove_file(run_dir.join(name));
    }
}

fn open_disks(spec: &MachineSpec) -> Result<Vec<File>, BootError> {
    let open = |disk: &crate::spec::Disk| {
        let writable = disk.access == Access::ReadWrite;
        OpenOptions::new()
            .read(true)
            .write(writable)
            .open(&disk.path)
            .map_err(at("open the disk", &disk.path))
    };
    spec.disks.iter().map(open).collect()
}

/// The group that owns `/dev/kvm`, for a hypervisor that needs it.
fn device_groups(hypervisor: Hypervisor) -> Vec<u32> {
    match hypervisor {
        Hypervisor::QemuTcg => Vec::new(),
        Hypervisor::QemuKvm => fs::metadata("/dev/kvm").map(|device| device.gid()).into_iter().collect(),
    }
}

fn open(what: &'static str, path: &Path) -> Result<File, BootError> {
    File::open(path).map_err(at(what, path))
}

fn clone(file: &File) -> Result<File, BootError> {
    file.try_clone().map_err(at("share", Path::new("the hypervisor's log")))
}

fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BootError {
    let path = path.to_owned();
    move |source| BootError::File { what, path, source }
}
