//! The guest's clock: it stands still while the machine sleeps, so the host tells the time.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use std::time::Duration;

/// Sets the clock to milliseconds since 1970, at a cold boot.
pub fn set(unix_ms: u64) -> nix::Result<()> {
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from_duration(Duration::from_millis(unix_ms)))
}

/// Sets the clock forward after a sleep. Never back: devices refuse WireGuard timestamps older than
/// the last they saw from this pal.
pub fn advance(unix_ms: u64) -> nix::Result<()> {
    let told = TimeSpec::from_duration(Duration::from_millis(unix_ms));
    if clock_gettime(ClockId::CLOCK_REALTIME)? < told { set(unix_ms) } else { Ok(()) }
}
