//! A process that may be our child or may have outlived the agent that started it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// One particular process: its number cannot come to mean another.
#[derive(Debug)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// When it started, in clock ticks since the host booted (`/proc/PID/stat`, field 22).
    pub start_time: u64,
    handle: OwnedFd,
}

impl Process {
    /// The process that has `pid` now.
    pub fn open(pid: u32) -> io::Result<Self> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        // The handle first: then the start time is that of the process the handle means, or gone.
        let handle = pidfd_open(number, PidfdFlags::empty())?;
        let start_time = start_time(pid)?;
        Ok(Process { pid, start_time, handle })
    }

    /// Whether it has ended; takes its exit code off the kernel if it is our child.
    pub fn exited(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits at most this long for its end.
    pub fn wait(&self, limit: Duration) -> bool {
        let mut watched = [PollFd::new(&self.handle, PollFlags::IN)];
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
        loop {
            match poll(&mut watched, Some(&limit)) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(0) | Err(_) => return false,
                Ok(_) => break,
            }
        }
        // Not a child of ours after an adoption: then whoever is its parent reaps it.
        let _ = waitid(WaitId::PidFd(self.handle.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        true
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.handle, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
        match self.wait(Duration::from_secs(10)) {
            true => Ok(()),
            false => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

fn start_time(pid: u32) -> io::Result<u64> {
    parse_start_time(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
        .ok_or(io::ErrorKind::InvalidData.into())
}

/// Field 22. The name in field 2 is in brackets and may hold anything, brackets and spaces too.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// Which boot of the host this is: start times of different boots cannot be compared.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("77 (a) b (c)) {}", fields.join(" "));
        assert_eq!(parse_start_time(&stat), Some(22));
        assert_eq!(parse_start_time("77 (cut"), None);
    }

    #[test]
    fn a_killed_child_is_gone_and_reaped() {
        #[expect(
            clippy::zombie_processes,
            reason = "that it is reaped without the child's handle is the point"
        )]
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::open(child.id()).unwrap();
        assert!(!process.exited());
        process.kill().unwrap();
        assert!(process.exited());
        assert!(!std::path::Path::new(&format!("/proc/{}", child.id())).exists(), "still a zombie");
    }
}
