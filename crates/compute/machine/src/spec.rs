use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::PathBuf;

/// Everything a machine is made of. The same spec must be given again to restore its snapshot.
#[derive(Clone, Debug)]
pub struct MachineSpec {
    /// Names the machine in process lists, control groups and logs: letters, digits and `-`.
    pub name: String,
    /// Folder for its sockets; made if missing, emptied when the machine is gone. Its path must be
    /// short (a socket's path has at most 107 bytes).
    pub run_dir: PathBuf,
    /// Guest kernel (ELF with a PVH entry, or bzImage).
    pub kernel: PathBuf,
    /// Guest's initial file system.
    pub initrd: PathBuf,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// Virtual processors.
    pub cpus: u8,
    /// Disks, in order.
    pub disks: Vec<Disk>,
    /// Network interface, if it has one.
    pub nic: Option<Nic>,
    /// Network namespace it runs in, as a path (`/run/netns/NAME`); the caller's own if `None`.
    pub netns: Option<PathBuf>,
    /// User it runs as.
    pub run_as: RunAs,
    /// Control group that holds the machines' groups, such as `cloudpal`.
    pub cgroup_parent: String,
    /// Added to the guest's kernel command line.
    pub cmdline: Vec<String>,
}

/// One virtio disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// A raw file or block device. Only its descriptor is passed on.
    pub path: PathBuf,
    /// What the guest finds it by; at most 20 letters and digits.
    pub serial: String,
    /// What the guest may do with it.
    pub access: Access,
}

/// What a guest may do with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// The virtio network interface.
#[derive(Clone, Debug)]
pub struct Nic {
    /// Name of a persistent tap device in the machine's namespace, owned by its user.
    pub tap: String,
    /// Hardware address.
    pub mac: [u8; 6],
    /// Whether segments larger than a frame may cross the tap.
    pub offload: Offload,
}

/// Checksum and segmentation offload between guest and host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// On: much faster where the kernel forwards.
    On,
    /// Off: every frame on the tap is complete, for whoever reads frames from it.
    Off,
}

/// The unprivileged user a machine's processes run as, best one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAs {
    /// User id; not root's.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What a snapshot is good for, and for nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Digest of the guest image.
    pub image: String,
    /// Whose machine it is.
    pub pal: String,
    /// Which of its lives: one more at each boot and restore.
    pub generation: u64,
}

impl Binding {
    /// Digest over this, the hypervisor and the machine's shape.
    pub(crate) fn digest(&self, hypervisor: &str, shape: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"cloudpal binding v1");
        for part in [&self.image, &self.pal, hypervisor, shape] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(self.generation.to_le_bytes());
        hash.finalize().into()
    }
}

impl MachineSpec {
    /// What must be equal for device state to fit: everything the guest can see.
    pub(crate) fn shape(&self) -> String {
        let mut shape = format!("memory {} MiB, {} cpus", self.memory_mib, self.cpus);
        for disk in &self.disks {
            let _ = write!(shape, ", disk {} {:?}", disk.serial, disk.access);
        }
        if let Some(nic) = &self.nic {
            let _ = write!(shape, ", nic {} {:?}", hex::encode(nic.mac), nic.offload);
        }
        shape
    }

    /// Guest memory in bytes.
    pub(crate) const fn memory_bytes(&self) -> u64 {
        (self.memory_mib as u64) << 20
    }

    /// The first thing wrong with it, as a sentence.
    pub(crate) fn problem(&self) -> Option<String> {
        let word = |text: &str, limit: usize| {
            !text.is_empty()
                && text.len() <= limit
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if !word(&self.name, 64) {
            return Some(format!(
                "the machine's name \"{}\" must be 1 to 64 letters, digits or -",
                self.name
            ));
        }
        if let Some(disk) = self.disks.iter().find(|disk| !word(&disk.serial, 20)) {
            return Some(format!("the disk serial \"{}\" must be 1 to 20 letters, digits or -", disk.serial));
        }
        if let Some(nic) = self.nic.as_ref().filter(|nic| !word(&nic.tap, 15)) {
            return Some(format!("the tap name \"{}\" must be 1 to 15 letters, digits or -", nic.tap));
        }
        if !(32..=65_536).contains(&self.memory_mib) || self.cpus == 0 {
            return Some("a machine needs 32 to 65536 MiB of memory and at least one cpu".to_owned());
        }
        if self.run_as.uid == 0 {
            return Some("a machine never runs as root: give it a user id of its own".to_owned());
        }
        let socket = self.run_dir.join("channel");
        if socket.as_os_str().len() > 107 {
            return Some(format!(
                "{} is too long for a socket: use a shorter state folder",
                socket.display()
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binding_tells_apart_whatever_differs() {
        let binding = Binding { image: "i".into(), pal: "p".into(), generation: 1 };
        let digests = [
            binding.digest("q", "s"),
            binding.digest("q2", "s"),
            binding.digest("q", "s2"),
            binding.digest("qs", ""),
            Binding { image: "i2".into(), ..binding.clone() }.digest("q", "s"),
            Binding { pal: "p2".into(), ..binding.clone() }.digest("q", "s"),
            Binding { generation: 2, ..binding.clone() }.digest("q", "s"),
            Binding { image: "ip".into(), pal: String::new(), ..binding }.digest("q", "s"),
        ];
        for (at, digest) in digests.iter().enumerate() {
            assert!(!digests[..at].contains(digest), "case {at}");
        }
    }
}
