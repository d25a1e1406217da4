//! What a wake costs at the least: the same machine restored from plain memory, nothing encrypted.

use crate::engine::Engine;
use crate::host::cgroup::Cgroup;
use crate::host::memory;
use crate::launch::{Life, launch, make_cgroup, make_memory};
use crate::restore::{Paused, Phases, RestoreError, load_state};
use crate::running::{MachineError, Running};
use crate::snapshot::SnapshotError;
use crate::spec::MachineSpec;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// A machine's memory and state in plain memory of this process. For measuring only.
#[derive(Debug)]
pub struct Bare {
    memory: File,
    state: File,
    bytes: u64,
}

/// A bare copy that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BareError {
    /// Saving the state.
    #[error(transparent)]
    Save(#[from] SnapshotError),
    /// Copying memory.
    #[error("could not copy the machine's memory")]
    Copy(#[from] io::Error),
    /// Ending the machine.
    #[error(transparent)]
    Kill(#[from] MachineError),
}

impl Bare {
    /// Pauses the machine, keeps its memory and state as they are, and ends it.
    pub fn take(machine: &Running) -> Result<Self, BareError> {
        let state = machine.save_state()?;
        let theirs = memory::of_process(machine.handle.pid, machine.handle.memory_descriptor)?;
        let bytes = machine.handle.memory_bytes;
        let mine = memory::create("bare-memory", bytes)?;
        copy(&theirs, &mine, bytes)?;
        machine.kill()?;
        Ok(Bare { memory: mine, state, bytes })
    }
}

impl Engine {
    /// Restores `bare` and says when the hypervisor was started: the clock begins after the memory was
    /// copied to where the hypervisor maps it.
    pub fn restore_bare(&self, spec: &MachineSpec, bare: &Bare) -> Result<(Instant, Paused), RestoreError> {
        let cgroup = make_cgroup(spec)?;
        let restored = self.restore_bare_in(spec, bare, &cgroup);
        if restored.is_err() {
            let _ = cgroup.remove();
        }
        restored
    }

    fn restore_bare_in(
        &self,
        spec: &MachineSpec,
        bare: &Bare,
        cgroup: &Cgroup,
    ) -> Result<(Instant, Paused), RestoreError> {
        let guest_memory = make_memory(spec)?;
        let prepared = copy(&bare.memory, &guest_memory, bare.bytes).and_then(|()| whole_copy(&bare.state));
        let state = prepared.map_err(|error| RestoreError::Open(error.to_string()))?;
        let start = Instant::now();
        let launched = launch(self, spec, cgroup, &guest_memory, Life::Incoming)?;
        let started = start.elapsed();
        let loaded = launched.connect().map_err(RestoreError::from).and_then(|mut qmp| {
            let ready = start.elapsed();
            load_state(&mut qmp, &state).map_err(RestoreError::Load)?;
            Ok(Phases { started, ready, decrypted: Duration::ZERO, loaded: start.elapsed() })
        });
        match loaded {
            Ok(phases) => Ok((start, Paused::new(Running::new(launched, &self.helper), phases))),
            Err(error) => {
                launched.discard();
                Err(error)
            }
        }
    }
}

fn whole_copy(file: &File) -> io::Result<File> {
    let bytes = file.metadata()?.len();
    let copied = memory::create("device-state", 0)?;
    copy(file, &copied, bytes)?;
    Ok(copied)
}

fn copy(from: &File, to: &File, bytes: u64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < bytes {
        let size = buffer.len().min((bytes - at) as usize);
        from.read_exact_at(&mut buffer[..size], at)?;
        // Pages of zeros stay holes, as in a machine that never touched them.
        for (index, page) in buffer[..size].chunks(4096).enumerate() {
            if page.iter().any(|&byte| byte != 0) {
                to.write_all_at(page, at + index as u64 * 4096)?;
            }
        }
        at += size as u64;
    }
    Ok(())
}
