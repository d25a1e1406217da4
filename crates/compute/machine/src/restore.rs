use crate::engine::Engine;
use crate::helper::{self, Answer, Busy, HelperError, Job};
use crate::host::cgroup::{Cgroup, CgroupError};
use crate::host::memory;
use crate::launch::{BootError, Launched, Life, launch, make_cgroup, make_memory};
use crate::qemu::qmp::{Qmp, QmpError};
use crate::running::{Handle, MachineError, Running};
use crate::seal::{HeaderError, Part, peek_salt};
use crate::snapshot::{Files, part_job};
use crate::spec::{Binding, MachineSpec};
use cloudpal_core::Secret;
use serde_json::json;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A machine that was not restored. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A file of the snapshot.
    #[error("could not read the snapshot file {path}: boot the machine cold")]
    File {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The snapshot was changed or belongs to something else.
    #[error("the snapshot {folder} is refused ({reason}): boot the machine cold")]
    Refused {
        /// Its folder.
        folder: PathBuf,
        /// Which part and why.
        reason: String,
    },
    /// The helper process.
    #[error("could not decrypt the snapshot")]
    Helper(#[from] HelperError),
    /// Decrypting failed for another reason.
    #[error("could not decrypt the snapshot: {0}")]
    Open(String),
    /// The hypervisor did not start.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The hypervisor did not take the state.
    #[error("the hypervisor did not take the machine's state back: boot the machine cold")]
    Load(#[source] QmpError),
    /// The control group.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

/// How long the steps of a restore took, each from the first one's start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Phases {
    /// The hypervisor's process was started.
    pub started: Duration,
    /// The hypervisor answered.
    pub ready: Duration,
    /// Memory and state were decrypted.
    pub decrypted: Duration,
    /// The hypervisor had taken the state.
    pub loaded: Duration,
}

/// A restored machine that has not gone on yet. Queue a frame on its channel and mark the snapshot as
/// used, then [`Paused::cont`].
#[derive(Debug)]
pub struct Paused {
    running: Running,
    /// How long it took so far.
    pub phases: Phases,
}

impl Paused {
    pub(crate) fn new(running: Running, phases: Phases) -> Self {
        Paused { running, phases }
    }

    /// What the next agent needs to take it over.
    pub fn handle(&self) -> &Handle {
        self.running.handle()
    }

    /// Connects to the guest's port; what is written now is the first thing the guest reads.
    pub fn channel(&self) -> Result<UnixStream, MachineError> {
        self.running.channel()
    }

    /// Lets the guest go on. From here on the snapshot must never be used again.
    pub fn cont(self) -> Result<Running, MachineError> {
        self.running.resume()?;
        Ok(self.running)
    }

    /// Gives it up; the snapshot is as good as before.
    pub fn discard(self) -> Result<(), MachineError> {
        self.running.kill()
    }
}

impl Engine {
    /// Brings a snapshot back to the point before it goes on. `spec`, `key` and `binding` must be those
    /// it was made with. The snapshot's files are only read.
    pub fn restore(
        &self,
        spec: &MachineSpec,
        snapshot: &Path,
        key: &Secret<32>,
        binding: &Binding,
    ) -> Result<Paused, RestoreError> {
        let start = Instant::now();
        let cgroup = make_cgroup(spec)?;
        let restored = self.restore_in(spec, snapshot, key, binding, &cgroup, start);
        if restored.is_err() {
            let _ = cgroup.remove();
        }
        restored
    }

    fn restore_in(
        &self,
        spec: &MachineSpec,
        snapshot: &Path,
        key: &Secret<32>,
        binding: &Binding,
        cgroup: &Cgroup,
        start: Instant,
    ) -> Result<Paused, RestoreError> {
        let files = open_snapshot(snapshot)?;
        let guest_memory = make_memory(spec)?;
        let state =
            memory::create("device-state", 0).map_err(|error| RestoreError::Open(error.to_string()))?;
        // Both at once: the hypervisor needs its time to start while the memory is decrypted.
        let binding = binding.digest(&self.version, &spec.shape());
        let mut job = open_job(snapshot, key, binding, &files, &guest_memory, &state)?;
        let busy = helper::start_on(&self.helper, &mut job, spec.run_as, cgroup.entrances()?)?;
        let launched = match launch(self, spec, cgroup, &guest_memory, Life::Incoming) {
            Ok(launched) => launched,
            Err(error) => {
                let _ = busy.finish();
                return Err(error.into());
            }
        };
        let started = start.elapsed();
        match finish(&launched, busy, snapshot, &state, start) {
            Ok(phases) => Ok(Paused::new(Running::new(launched, &self.helper), Phases { started, ..phases })),
            Err(error) => {
                launched.discard();
                Err(error)
            }
        }
    }
}

fn finish(
    launched: &Launched,
    busy: Busy,
    snapshot: &Path,
    state: &File,
    start: Instant,
) -> Result<Phases, RestoreError> {
    let connected = launched.connect();
    let ready = start.elapsed();
    let answer = busy.finish()?;
    let decrypted = start.elapsed();
    match answer {
        Answer::Done(_) => {}
        Answer::Refused(reason) => return Err(RestoreError::Refused { folder: snapshot.to_owned(), reason }),
        Answer::Failed(reason) => return Err(RestoreError::Open(reason)),
        Answer::DiskFull => return Err(RestoreError::Open("no memory is left on this host".to_owned())),
        Answer::Kvm(_) => return Err(HelperError::NoAnswer.into()),
    }
    load_state(&mut connected?, state).map_err(RestoreError::Load)?;
    Ok(Phases { started: Duration::ZERO, ready, decrypted, loaded: start.elapsed() })
}

/// Gives the hypervisor its device state. Guest memory must be in place: devices look into it.
pub(crate) fn load_state(qmp: &mut Qmp, state: &File) -> Result<(), QmpError> {
    qmp.leave_memory_out()?;
    qmp.pass_descriptor("state", state.as_fd())?;
    qmp.execute("migrate-incoming", json!({ "uri": "fd:state" }))?;
    qmp.wait_for_migration()
}

pub(crate) fn open_snapshot(snapshot: &Path) -> Result<Files, RestoreError> {
    let open = |part: Part| {
        let path = snapshot.join(part.name());
        File::open(&path).map_err(|source| RestoreError::File { path, source })
    };
    Ok(Files { memory: open(Part::Memory)?, state: open(Part::State)? })
}

pub(crate) fn open_job(
    snapshot: &Path,
    key: &Secret<32>,
    binding: [u8; 32],
    files: &Files,
    guest_memory: &File,
    state: &File,
) -> Result<Job, RestoreError> {
    // The memory's salt makes both keys, so a state from another snapshot is refused.
    let salt = match peek_salt(&files.memory) {
        Ok(Some(salt)) => salt.0,
        Ok(None) => {
            let reason = format!("memory: {}", HeaderError::Form);
            return Err(RestoreError::Refused { folder: snapshot.to_owned(), reason });
        }
        Err(source) => return Err(RestoreError::File { path: snapshot.join(Part::Memory.name()), source }),
    };
    let parts = vec![
        part_job(key, salt, binding, Part::Memory, guest_memory, &files.memory, 0),
        part_job(key, salt, binding, Part::State, state, &files.state, 0),
    ];
    Ok(Job::Open { salt, binding, parts })
}
