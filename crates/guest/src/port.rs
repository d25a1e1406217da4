//! The virtio port to the host.

use crate::init::InitError;
use crate::wire::Wire;
use cloudpal_protocol::guest::PORT_NAME;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

/// Finds the port by its name; udev is not here to make a link, and the number changes.
pub fn open() -> Result<Wire, InitError> {
    for _ in 0..100 {
        if let Some(path) = find() {
            let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path);
            let file = opened.map_err(|source| InitError::System { what: "open the host's port", source })?;
            return Ok(Wire::new(file.into()));
        }
        sleep(Duration::from_millis(20));
    }
    Err(InitError::NoPort)
}

fn find() -> Option<PathBuf> {
    fs::read_dir("/sys/class/virtio-ports").ok()?.flatten().find_map(|entry| {
        let name = fs::read_to_string(entry.path().join("name")).ok()?;
        let device = PathBuf::from("/dev").join(entry.file_name());
        (name.trim() == PORT_NAME && device.exists()).then_some(device)
    })
}
