//! # Micro-VMs: boot, pause, snapshot, restore, adopt, kill
//!
//! A machine is one hypervisor process, confined to a user, a network namespace and a control group of
//! its own. Its memory is a file without a name, so nothing of it is left when it ends. It outlives the
//! agent that started it: the next agent takes it over by its [`Handle`]. A machine that sleeps is two
//! encrypted files and nothing else.
//!
//! ```text
//! Engine --boot(spec)----------------------------> Running --kill--> (nothing)
//!   |  \--adopt(handle)--------------------------->  |  ^
//!   |                                 snapshot(key)  |  | cont
//!   \--restore(spec, folder, key)--> Paused ---------|--/
//!                                                    v
//!                                     folder/{memory,state}, encrypted
//! ```
//!
//! This crate never decides when a machine runs or sleeps, never speaks with the guest (it hands out
//! the channel), never touches routes or interfaces, and never uses a snapshot up: its caller renames
//! it before [`Paused::cont`]. All calls block. It has one driver now, for QEMU; [`choose`] says in
//! words why another hypervisor is not used.
//!
//! ```no_run
//! use cloudpal_machine::{Binding, Engine, Helper, Hypervisor, MachineSpec, QEMU, RunAs};
//! use cloudpal_core::Secret;
//! use std::path::Path;
//!
//! let helper = Helper::this_program("machine-helper"); // main() calls helper_main() on that argument
//! let engine = Engine::new(Hypervisor::QemuTcg, Path::new(QEMU), helper)?;
//! let spec = MachineSpec {
//!     name: "pal-1".into(),
//!     run_dir: "/run/cloudpal/pal-1".into(),
//!     kernel: "image/vmlinux".into(),
//!     initrd: "image/initrd".into(),
//!     memory_mib: 128,
//!     cpus: 1,
//!     disks: vec![],
//!     nic: None,
//!     netns: None,
//!     run_as: RunAs { uid: 64_001, gid: 64_001 },
//!     cgroup_parent: "cloudpal".into(),
//!     cmdline: vec![],
//! };
//! let machine = engine.boot(&spec)?;
//! let key = Secret::new([0; 32]); // the host's
//! let binding = Binding { image: "digest".into(), pal: "id".into(), generation: 1 };
//! let snapshot = machine.snapshot(&key, &binding, Path::new("asleep"))?;
//!
//! let paused = engine.restore(&spec, &snapshot.folder, &key, &binding)?;
//! std::fs::rename("asleep", "used")?;
//! let machine = paused.cont()?;
//! # machine.kill()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod choose;
mod engine;
mod helper;
mod host;
mod launch;
pub mod measure;
mod probe;
mod qemu;
mod restore;
mod running;
mod seal;
mod search;
mod snapshot;
mod spec;

pub use choose::{Choice, ChooseError, Hypervisor, choose};
pub use engine::{AdoptError, Engine, QEMU};
pub use helper::{Helper, HelperError, helper_main};
pub use host::cgroup::{CgroupError, Stats};
pub use launch::BootError;
pub use probe::{Kvm, probe};
pub use qemu::qmp::QmpError;
pub use restore::{Paused, Phases, RestoreError};
pub use running::{Handle, MachineError, Running, clear_leftovers, remove_cgroup_parent};
pub use seal::Sealed;
pub use snapshot::{Snapshot, SnapshotError};
pub use spec::{Access, Binding, Disk, MachineSpec, Nic, Offload, RunAs};
