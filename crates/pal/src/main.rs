//! # The pal, inside its micro-VM
//!
//! `cloudpal-init` starts two processes from this program; each speaks frames on its standard input.
//!
//! - `cloudpald network` ([`network`]) holds the pal's keys, runs WireGuard, answers names, keeps the
//!   owner's tickets and checks the host's receipts. It lives through sleep.
//! - `cloudpald data` ([`data`]) speaks with the owner's devices, opens the data disk and serves the
//!   page. It is killed before every sleep, and everything readable dies with it.
//!
//! It never writes a key or anything of the owner's to a log, never serves anything outside the overlay
//! network, and never lets the data key near the process that lives through sleep.

mod data;
mod frames;
mod network;

use std::alloc::System;
use std::process::ExitCode;
use zeroizing_alloc::ZeroAlloc;

/// Memory is wiped as it is freed: names that were asked for and tickets that were passed on would
/// otherwise be found in the image of a sleeping pal.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let half = std::env::args().nth(1);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cloudpald: could not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = match half.as_deref() {
        Some("network") => runtime.block_on(network::run()),
        Some("data") => runtime.block_on(data::run()),
        _ => {
            eprintln!("cloudpald is started by cloudpal-init inside a pal: cloudpald {{network|data}}");
            return ExitCode::from(2);
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloudpald: lost the channel to cloudpal-init: {error}");
            ExitCode::FAILURE
        }
    }
}
