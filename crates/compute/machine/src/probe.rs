//! Whether KVM really runs a guest in time. A device file proves nothing: nested and emulated KVM
//! opens, creates machines, and then runs a thousand times too slowly to boot anything.
#![allow(unsafe_code)]

use crate::helper::{Answer, Helper, Job, start};
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{VcpuExit, VcpuFd};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// What the probe found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kvm {
    /// A guest ran at a useful speed.
    Works {
        /// Guest instructions a second.
        instructions_per_s: u64,
    },
    /// A guest ran, but so slowly that translating is faster; 0 when it did not answer in time.
    TooSlow {
        /// Guest instructions a second.
        instructions_per_s: u64,
    },
    /// No guest ran.
    Absent {
        /// Why.
        reason: String,
    },
}

/// Real processors do more than 500 million a second, translation about 200.
const USEFUL_PER_S: u64 = 100_000_000;
const PATIENCE: Duration = Duration::from_secs(3);
/// Loop turns in one entry of the guest: 20 ms on a host that does a million instructions a second.
const TURNS: u64 = 10_000;
const INSTRUCTIONS_A_TURN: u64 = 2;
const RUN_FOR: Duration = Duration::from_millis(50);

/// Runs a few thousand instructions under KVM in a helper process that is killed if it hangs.
pub fn probe(helper: &Helper) -> Kvm {
    let answer = start(helper, &Job::RunKvm, None).and_then(|busy| busy.finish_within(PATIENCE));
    match answer {
        Ok(Answer::Kvm(run)) => judge(run),
        Ok(_) => Kvm::Absent { reason: "the helper process gave a wrong answer".to_owned() },
        Err(crate::helper::HelperError::NoAnswer) => Kvm::TooSlow { instructions_per_s: 0 },
        Err(error) => Kvm::Absent { reason: error.to_string() },
    }
}

/// What a run under KVM gave.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum KvmRun {
    Ran { instructions: u64, micros: u64 },
    Failed(String),
}

fn judge(run: KvmRun) -> Kvm {
    match run {
        KvmRun::Failed(reason) => Kvm::Absent { reason },
        KvmRun::Ran { instructions, micros } => {
            let instructions_per_s = instructions.saturating_mul(1_000_000) / micros.max(1);
            match instructions_per_s >= USEFUL_PER_S {
                true => Kvm::Works { instructions_per_s },
                false => Kvm::TooSlow { instructions_per_s },
            }
        }
    }
}

/// Runs the guest; only ever called in the helper process.
pub(crate) fn run_kvm() -> KvmRun {
    if !std::path::Path::new("/dev/kvm").exists() {
        return KvmRun::Failed("there is no /dev/kvm".to_owned());
    }
    run().unwrap_or_else(|(what, error)| KvmRun::Failed(format!("{what}: {error}")))
}

type Failed = (&'static str, kvm_ioctls::Error);

fn run() -> Result<KvmRun, Failed> {
    // mov ecx, TURNS; again: dec ecx; jnz again; hlt; jmp start
    let turns = (TURNS as u32).to_le_bytes();
    let code = [0x66, 0xb9, turns[0], turns[1], turns[2], turns[3], 0x66, 0x49, 0x75, 0xfc, 0xf4, 0xeb, 0xf3];
    const PAGE: usize = 4096;
    // Leaked on purpose: the kernel refers to it until this short-lived process ends.
    let memory: &'static mut [u8] = Box::leak(vec![0u8; 2 * PAGE].into_boxed_slice());
    let skip = memory.as_ptr().align_offset(PAGE);
    memory[skip..skip + code.len()].copy_from_slice(&code);
    let kvm = kvm_ioctls::Kvm::new().map_err(|error| ("could not open /dev/kvm", error))?;
    let machine = kvm.create_vm().map_err(|error| ("could not create a machine", error))?;
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0x1000,
        memory_size: PAGE as u64,
        userspace_addr: memory[skip..].as_ptr() as u64,
    };
    // SAFETY: the page is aligned, lives as long as the process, and nothing here touches it again.
    unsafe { machine.set_user_memory_region(region) }.map_err(|error| ("could not give it memory", error))?;
    let mut cpu = machine.create_vcpu(0).map_err(|error| ("could not create a processor", error))?;
    prepare(&cpu).map_err(|error| ("could not set its registers", error))?;
    let start = Instant::now();
    let mut instructions = 0;
    while start.elapsed() < RUN_FOR {
        match cpu.run().map_err(|error| ("could not run it", error))? {
            VcpuExit::Hlt => instructions += TURNS * INSTRUCTIONS_A_TURN,
            other => return Ok(KvmRun::Failed(format!("the guest stopped unexpectedly: {other:?}"))),
        }
    }
    Ok(KvmRun::Ran { instructions, micros: start.elapsed().as_micros() as u64 })
}

/// Real mode, at the start of the page.
fn prepare(cpu: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
    let mut segments = cpu.get_sregs()?;
    segments.cs.base = 0;
    segments.cs.selector = 0;
    cpu.set_sregs(&segments)?;
    let mut registers = cpu.get_regs()?;
    registers.rip = 0x1000;
    registers.rflags = 2;
    cpu.set_regs(&registers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_alone_decides() {
        let ran = |instructions, micros| judge(KvmRun::Ran { instructions, micros });
        assert_eq!(ran(50_000_000, 50_000), Kvm::Works { instructions_per_s: 1_000_000_000 });
        assert_eq!(ran(60_000, 60_000), Kvm::TooSlow { instructions_per_s: 1_000_000 });
        assert_eq!(ran(60_000, 0), Kvm::Works { instructions_per_s: 60_000_000_000 });
        assert!(matches!(judge(KvmRun::Failed("no".into())), Kvm::Absent { .. }));
    }
}
