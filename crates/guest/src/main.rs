//! # PID 1 of a pal's micro-VM
//!
//! Started by the kernel as `/init` from the initial file system. It mounts what Linux needs, loads the
//! modules that came along, opens the virtio port `cloudpal` and then passes frames between the host and
//! the two halves of the pal, which it starts, watches and starts again:
//!
//! - `/cloudpald network` lives as long as the machine, through sleep;
//! - `/cloudpald data` is ended before every sleep, so that the kernel frees and zeroes all it held.
//!
//! `/init open-data` (key on standard input) opens the encrypted data disk and ends at once, for the same
//! reason; `/init close-data` closes it. Before a sleep [`quiesce`] makes sure that nothing readable is
//! left in memory.
//!
//! It never sees a data key or anything that owner and pal say to each other, never opens a network
//! socket of its own and keeps no state on disk.

mod child;
mod clock;
mod disk;
mod entropy;
mod init;
mod mapper;
mod modules;
mod mounts;
mod port;
mod power;
mod quiesce;
mod tools;
mod wire;

use std::alloc::System;
use std::process::ExitCode;
use zeroizing_alloc::ZeroAlloc;

/// Memory is wiped as it is freed: this process lives through sleep.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    match task.as_deref() {
        None if std::process::id() == 1 => power::off_after(init::run()),
        Some("open-data") => disk::open_command(),
        Some("close-data") => disk::close_command(),
        _ => {
            eprintln!(
                "cloudpal-init is started by the kernel of a micro-VM; there is nothing for it to do here"
            );
            ExitCode::from(2)
        }
    }
}
