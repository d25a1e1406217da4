//! Leaves nothing readable in memory before a sleep. What can hold plaintext, and what becomes of it:
//!
//! | where | what happens |
//! | --- | --- |
//! | memory of `cloudpald data` | process ended; the kernel zeroes pages as it frees them (`init_on_free=1`) |
//! | page cache, journal and key of the data disk | unmounted, device removed, caches dropped |
//! | unsent data of TCP connections, orphans too | connections reset |
//! | WireGuard sessions | `wg0` taken down by `cloudpald network` |
//! | received packets, decrypted in place | the network driver holds pages of which parts were handed out; only taking it off frees them all |
//! | memory of `cloudpald network` and of this process | wiped as it is freed; buffers that stay are wiped after use |
//!
//! The host leads packets to its doorbell before it asks for this, so nothing new comes in meanwhile.

use crate::disk;
use cloudpal_link::guest::{UPLINK, close_tcp, renew_uplink};
use cloudpal_protocol::guest::GuestLink;
use std::fs;
use std::io;
use std::path::Path;

const DRIVER: &str = "/sys/bus/virtio/drivers/virtio_net";

/// Why memory may still hold something readable.
#[derive(Debug, thiserror::Error)]
pub enum QuiesceError {
    /// The data disk stays open.
    #[error("could not close the data disk")]
    Disk(#[source] io::Error),
    /// The network driver could not be taken off or put back.
    #[error("could not {what} the network driver")]
    Driver {
        /// What was being done.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The uplink did not come back.
    #[error("could not restore the uplink")]
    Uplink(#[source] cloudpal_link::guest::NetlinkError),
}

/// Closes the data disk. `cloudpald data` has to be gone.
pub fn close_disk() -> Result<(), QuiesceError> {
    disk::close_patiently().map_err(QuiesceError::Disk)
}

/// Frees every buffer that holds something received or to be sent, then brings the uplink back so that
/// the host sees its neighbour answer.
pub fn scrub(link: &GuestLink) -> Result<(), QuiesceError> {
    // Without the kernel's socket diagnosis there are still the processes' own closes.
    let _ = close_tcp();
    renew_driver()?;
    renew_uplink(link).map_err(QuiesceError::Uplink)?;
    let _ = fs::write("/proc/sys/vm/drop_caches", "3");
    trim_heap();
    Ok(())
}

fn renew_driver() -> Result<(), QuiesceError> {
    let failed = |what| move |source| QuiesceError::Driver { what, source };
    let device = fs::canonicalize(format!("/sys/class/net/{UPLINK}/device")).map_err(failed("find"))?;
    let name = device.file_name().unwrap_or_default().to_string_lossy().into_owned();
    fs::write(Path::new(DRIVER).join("unbind"), &name).map_err(failed("take off"))?;
    fs::write(Path::new(DRIVER).join("bind"), &name).map_err(failed("put back"))
}

/// Gives freed memory of this process back to the kernel, which zeroes it.
#[allow(unsafe_code)]
fn trim_heap() {
    // SAFETY: `malloc_trim` only returns unused pages of the allocator that this process uses.
    unsafe { libc::malloc_trim(0) };
}
