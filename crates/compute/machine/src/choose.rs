use crate::probe::Kvm;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What runs machines on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hypervisor {
    /// QEMU with hardware virtualisation.
    QemuKvm,
    /// QEMU translating instructions: works everywhere, slower.
    QemuTcg,
}

/// The hypervisor chosen and why, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What runs machines.
    pub hypervisor: Hypervisor,
    /// Why this one and not another: a sentence or two.
    pub why: String,
}

/// No hypervisor can be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChooseError {
    /// QEMU is not installed.
    #[error(
        "no QEMU was found (looked for {0}): install Debian's package qemu-system-x86, for instance with \
         `apt-get install --no-install-recommends qemu-system-x86`"
    )]
    NoQemu(PathBuf),
}

/// Chooses by facts alone. `qemu` is the program if it is there, `firecracker` too.
pub fn choose(kvm: &Kvm, qemu: Option<&Path>, firecracker: Option<&Path>) -> Result<Choice, ChooseError> {
    if qemu.is_none() {
        return Err(ChooseError::NoQemu(PathBuf::from(crate::engine::QEMU)));
    }
    let (hypervisor, mut why) = match kvm {
        Kvm::Works { instructions_per_s } => (
            Hypervisor::QemuKvm,
            format!("KVM ran a guest at {} million instructions a second.", instructions_per_s / 1_000_000),
        ),
        Kvm::TooSlow { instructions_per_s } => (
            Hypervisor::QemuTcg,
            format!(
                "KVM is there but ran a guest at only {:.1} million instructions a second, so QEMU translates instead.",
                *instructions_per_s as f64 / 1e6
            ),
        ),
        Kvm::Absent { reason } => {
            (Hypervisor::QemuTcg, format!("KVM cannot be used ({reason}), so QEMU translates instead."))
        }
    };
    if let Some(path) = firecracker {
        why += &match hypervisor {
            Hypervisor::QemuKvm => {
                format!(" {} is not used: this version has no driver for Firecracker yet.", path.display())
            }
            Hypervisor::QemuTcg => {
                format!(" {} is not used: Firecracker needs a working KVM.", path.display())
            }
        };
    }
    Ok(Choice { hypervisor, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    const QEMU: &str = "/usr/bin/qemu-system-x86_64";

    #[test]
    fn a_device_file_alone_never_chooses_kvm() {
        let qemu = Some(Path::new(QEMU));
        for (kvm, expected) in [
            (Kvm::Works { instructions_per_s: 900_000_000 }, Hypervisor::QemuKvm),
            (Kvm::TooSlow { instructions_per_s: 1_000_000 }, Hypervisor::QemuTcg),
            (Kvm::TooSlow { instructions_per_s: 0 }, Hypervisor::QemuTcg),
            (Kvm::Absent { reason: "no /dev/kvm".into() }, Hypervisor::QemuTcg),
        ] {
            assert_eq!(choose(&kvm, qemu, None).unwrap().hypervisor, expected, "{kvm:?}");
        }
    }

    #[test]
    fn says_why_firecracker_is_not_used() {
        let firecracker = Some(Path::new("/opt/firecracker"));
        for kvm in [Kvm::Works { instructions_per_s: 900_000_000 }, Kvm::TooSlow { instructions_per_s: 1 }] {
            let choice = choose(&kvm, Some(Path::new(QEMU)), firecracker).unwrap();
            assert!(choice.why.contains("/opt/firecracker is not used"), "{}", choice.why);
        }
    }

    #[test]
    fn no_qemu_names_the_package() {
        let error = choose(&Kvm::Absent { reason: "none".into() }, None, None).unwrap_err();
        assert!(error.to_string().contains("qemu-system-x86"), "{error}");
    }
}
