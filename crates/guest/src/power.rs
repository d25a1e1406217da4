//! The end of the machine.

use crate::init::InitError;
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::sync;
use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;

/// Powers off once the work is over; says on the console why, if it was not asked for.
pub fn off_after(ended: Result<(), InitError>) -> ExitCode {
    if let Err(error) = ended {
        complain(&error);
    }
    off();
    // Only reached when the kernel refuses, which it does not do to PID 1.
    ExitCode::FAILURE
}

/// Flushes disks and powers off.
fn off() {
    sync();
    let _ = reboot(RebootMode::RB_POWER_OFF);
    // A machine without power management resets instead; its hypervisor runs with -no-reboot.
    let _ = reboot(RebootMode::RB_AUTOBOOT);
}

/// One line with all causes, on the console if there is one.
fn complain(error: &InitError) {
    let mut line = format!("cloudpal-init: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(&format!(": {error}"));
        cause = error.source();
    }
    if let Ok(mut console) = OpenOptions::new().write(true).open("/dev/console") {
        let _ = writeln!(console, "{line}");
    }
}
