use crate::helper::{self, Answer, HelperError, Job, PartJob};
use crate::host::cgroup::CgroupError;
use crate::host::memory;
use crate::qemu::qmp::{Qmp, QmpError};
use crate::running::{MachineError, Running};
use crate::seal::{Part, Salt, Sealed, derive_bytes};
use crate::spec::Binding;
use cloudpal_core::Secret;
use serde_json::json;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Device state is some 80 KiB; this only bounds what a mad hypervisor could make us hold.
const MAX_STATE_BYTES: u64 = 16 << 20;

/// A machine's memory and device state, encrypted, and how it went.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Folder with the files `memory` and `state`.
    pub folder: PathBuf,
    /// What the memory came to.
    pub memory: Sealed,
    /// What the device state came to.
    pub state: Sealed,
    /// Time from the pause until the hypervisor had put its state down.
    pub saved_after: Duration,
    /// Time from the pause until both files were written.
    pub sealed_after: Duration,
    /// Time from the pause until nothing of the machine was left.
    pub gone_after: Duration,
}

/// A snapshot that was not made. The machine runs on, unless the error says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The folder or a file in it.
    #[error("could not make the snapshot file {path}; the machine runs on")]
    File {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No room.
    #[error(
        "the disk that holds {folder} is full, so the machine cannot sleep and runs on: free some space there"
    )]
    DiskFull {
        /// The snapshot's folder.
        folder: PathBuf,
    },
    /// The hypervisor.
    #[error("could not save the state of machine {name}; it runs on")]
    Save {
        /// The machine.
        name: String,
        /// Why.
        #[source]
        source: QmpError,
    },
    /// Sealing.
    #[error("could not encrypt the memory of machine {name}: {reason}; it runs on")]
    Seal {
        /// The machine.
        name: String,
        /// Why.
        reason: String,
    },
    /// The helper process.
    #[error("could not encrypt the memory of machine {name}; it runs on")]
    Helper {
        /// The machine.
        name: String,
        /// Why.
        #[source]
        source: HelperError,
    },
    /// Its control group.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The machine could not go on after one of the failures above.
    #[error("could not make a snapshot of machine {name}, nor let it go on: kill it and boot it cold")]
    Stuck {
        /// The machine.
        name: String,
        /// Why it does not go on.
        #[source]
        source: MachineError,
    },
    /// The snapshot is whole, the machine could not be removed.
    #[error("the snapshot is made, but what is left of the machine could not be removed")]
    NotGone(#[source] MachineError),
}

/// The two files of a snapshot.
pub(crate) struct Files {
    pub memory: File,
    pub state: File,
}

impl Running {
    /// Pauses the machine, writes its memory and state encrypted into the new folder `dest`, and ends
    /// it: afterwards no process, memory or control group is left. On failure `dest` is removed and the machine runs on.
    ///
    /// Nothing is synced to the disk: after a power cut the files are found damaged and the machine
    /// boots cold, as it would have without them.
    pub fn snapshot(
        &self,
        key: &Secret<32>,
        binding: &Binding,
        dest: &Path,
    ) -> Result<Snapshot, SnapshotError> {
        let start = Instant::now();
        let made = create_files(dest).and_then(|files| self.save_and_seal(key, binding, dest, &files, start));
        let (memory, state, saved_after) = match made {
            Ok(made) => made,
            Err(error) => {
                let _ = fs::remove_dir_all(dest);
                self.resume()
                    .map_err(|source| SnapshotError::Stuck { name: self.handle.name.clone(), source })?;
                return Err(error);
            }
        };
        let sealed_after = start.elapsed();
        self.kill().map_err(SnapshotError::NotGone)?;
        let gone_after = start.elapsed();
        Ok(Snapshot { folder: dest.to_owned(), memory, state, saved_after, sealed_after, gone_after })
    }

    fn save_and_seal(
        &self,
        key: &Secret<32>,
        binding: &Binding,
        dest: &Path,
        files: &Files,
        start: Instant,
    ) -> Result<(Sealed, Sealed, Duration), SnapshotError> {
        let name = || self.handle.name.clone();
        let state = self.save_state()?;
        let saved_after = start.elapsed();
        let guest_memory =
            memory::of_process(self.handle.pid, self.handle.memory_descriptor).map_err(|error| {
                SnapshotError::Seal { name: name(), reason: format!("cannot reach its memory: {error}") }
            })?;
        let length = state.metadata().map_or(0, |state| state.len());
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(|error| SnapshotError::Seal {
            name: name(),
            reason: format!("no randomness: {error}"),
        })?;
        let binding = binding.digest(&self.handle.hypervisor, &self.handle.shape);
        let parts = vec![
            part_job(
                key,
                salt,
                binding,
                Part::Memory,
                &guest_memory,
                &files.memory,
                self.handle.memory_bytes,
            ),
            part_job(key, salt, binding, Part::State, &state, &files.state, length),
        ];
        let mut job = Job::Seal { salt, binding, parts };
        let busy = helper::start_on(&self.helper, &mut job, self.handle.run_as, self.cgroup.entrances()?);
        let answer = busy.and_then(helper::Busy::finish);
        match answer.map_err(|source| SnapshotError::Helper { name: name(), source })? {
            Answer::Done(done) => match done.as_slice() {
                [memory, state] => Ok((*memory, *state, saved_after)),
                _ => Err(SnapshotError::Helper { name: name(), source: HelperError::NoAnswer }),
            },
            Answer::DiskFull => Err(SnapshotError::DiskFull { folder: dest.to_owned() }),
            Answer::Refused(reason) | Answer::Failed(reason) => {
                Err(SnapshotError::Seal { name: name(), reason })
            }
            Answer::Kvm(_) => Err(SnapshotError::Helper { name: name(), source: HelperError::NoAnswer }),
        }
    }

    /// Stops the machine and gives its device state, in a file without a name.
    pub(crate) fn save_state(&self) -> Result<File, SnapshotError> {
        let failed = |source| SnapshotError::Save { name: self.handle.name.clone(), source };
        let state = memory::create("device-state", 0)
            .map_err(|source| SnapshotError::File { path: "for its device state".into(), source })?;
        let mut qmp = Qmp::connect(&self.handle.qmp_path()).map_err(failed)?;
        let mut save = || {
            qmp.execute("stop", json!({}))?;
            qmp.leave_memory_out()?;
            qmp.pass_descriptor("state", state.as_fd())?;
            qmp.execute("migrate", json!({ "uri": "fd:state" }))?;
            qmp.wait_for_migration()
        };
        save().map_err(failed)?;
        match state.metadata().map_or(0, |state| state.len()) {
            1..=MAX_STATE_BYTES => Ok(state),
            size => Err(failed(QmpError::Migration(format!("it wrote {size} bytes of device state")))),
        }
    }
}

pub(crate) fn part_job(
    key: &Secret<32>,
    salt: [u8; 32],
    binding: [u8; 32],
    part: Part,
    plain: &File,
    sealed: &File,
    length: u64,
) -> PartJob {
    let key = derive_bytes(key, Salt(salt), part, binding);
    PartJob { part, key, plain: plain.as_raw_fd(), sealed: sealed.as_raw_fd(), length }
}

fn create_files(dest: &Path) -> Result<Files, SnapshotError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| match source.kind() {
            io::ErrorKind::StorageFull => SnapshotError::DiskFull { folder: path },
            _ => SnapshotError::File { path, source },
        }
    };
    DirBuilder::new().mode(0o700).create(dest).map_err(at(dest))?;
    let create = |part: Part| {
        let path = dest.join(part.name());
        OpenOptions::new().write(true).read(true).create_new(true).mode(0o600).open(&path).map_err(at(&path))
    };
    Ok(Files { memory: create(Part::Memory)?, state: create(Part::State)? })
}
