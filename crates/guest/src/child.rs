//! The two processes that init starts and watches. Each has one end of a socket pair as its standard
//! input and speaks frames on it both ways.

use crate::wire::Wire;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PROGRAM: &str = "/cloudpald";

/// A half that is asked to end has this long.
const GRACE: Duration = Duration::from_secs(3);

/// Which half of the pal a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// `/cloudpald network`
    Network,
    /// `/cloudpald data`
    Data,
}

impl Half {
    /// Its argument.
    pub fn name(self) -> &'static str {
        match self {
            Half::Network => "network",
            Half::Data => "data",
        }
    }
}

/// A running half.
pub struct Running {
    /// Frames to and from it.
    pub wire: Wire,
    pid: Pid,
}

impl Running {
    /// Starts a half with an environment that holds nothing.
    pub fn start(half: Half) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let child = Command::new(PROGRAM)
            .arg(half.name())
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        Ok(Running { wire: Wire::new(ours.into()), pid })
    }

    /// Whether this is the process that `waitpid` reported.
    pub fn is(&self, pid: Pid) -> bool {
        self.pid == pid
    }

    /// Ends it: it is gone and its memory freed when this returns. It has nothing to do before its end that
    /// a crash would not leave undone too, so it is not asked.
    pub fn stop(self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }

    /// The same, after it had a moment to close what it has open: a store that was closed well opens sooner.
    pub fn stop_gently(self) {
        let _ = kill(self.pid, Signal::SIGTERM);
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => sleep(Duration::from_millis(5)),
                _ => return,
            }
        }
        self.stop();
    }
}

/// A process that ended.
pub struct Ended {
    /// Which.
    pub pid: Pid,
    /// Whether it ended by itself and well.
    pub well: bool,
}

/// The children that ended since the last call, orphans of orphans included.
pub fn reap() -> Vec<Ended> {
    let mut ended = Vec::new();
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        let Some(pid) = status.pid() else { break };
        ended.push(Ended { pid, well: matches!(status, WaitStatus::Exited(_, 0)) });
    }
    ended
}
