//! The file systems that Linux and its programs expect.

use nix::mount::{MsFlags, mount};
use std::fs;
use std::io;

/// A file system that could not be mounted.
#[derive(Debug, thiserror::Error)]
#[error("could not mount {kind} on {place}")]
pub struct MountError {
    kind: &'static str,
    place: &'static str,
    #[source]
    source: io::Error,
}

const SAFE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC).union(MsFlags::MS_NODEV);

/// Mounts `/proc`, `/sys`, `/dev` and `/run`.
pub fn mount_all() -> Result<(), MountError> {
    let devices = MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC);
    for (kind, place, flags, data) in [
        ("proc", "/proc", SAFE, None),
        ("sysfs", "/sys", SAFE, None),
        ("devtmpfs", "/dev", devices, None),
        ("tmpfs", "/run", SAFE, Some("mode=0755,size=1m")),
    ] {
        let failed = |source| MountError { kind, place, source };
        fs::create_dir_all(place).map_err(failed)?;
        match mount(Some(kind), place, Some(kind), flags, data) {
            // Some kernels mount devtmpfs by themselves.
            Ok(()) | Err(nix::Error::EBUSY) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    // One processor has nobody to wait for: taking interfaces, mounts and devices off costs a tenth.
    let _ = fs::write("/sys/kernel/rcu_expedited", "1");
    Ok(())
}
