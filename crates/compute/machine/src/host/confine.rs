//! What a machine's processes give up before they run anything.
#![allow(unsafe_code)]

use crate::host::tap::TapDoor;
use crate::spec::RunAs;
use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where and as whom a process runs.
#[derive(Debug)]
pub struct Confinement {
    /// Its user and group; all capabilities are dropped.
    pub run_as: RunAs,
    /// All its supplementary groups.
    pub groups: Vec<u32>,
    /// Network namespace to enter, if not the caller's.
    pub netns: Option<File>,
    /// Tap device it inherits, opened in its namespace and with its own rights.
    pub tap: Option<TapDoor>,
    /// `cgroup.procs` of each control group to join.
    pub cgroups: Vec<File>,
    /// Descriptors it inherits under the numbers they have here.
    pub keep: Vec<RawFd>,
    /// How soon the kernel kills it when memory is short: -1000 (never) to 1000 (first).
    pub oom_score: i32,
}

/// Makes `command` start in its own session, confined. All of it happens in the child before it
/// becomes the new program, and a failure of any step keeps the program from starting.
pub fn confine(command: &mut Command, confinement: Confinement) {
    // SAFETY: the closure runs between fork and exec of a process that may have other threads, so it
    // must neither allocate nor lock. It only makes system calls on values made before the fork.
    unsafe { command.pre_exec(move || enter(&confinement)) };
}

fn enter(confinement: &Confinement) -> io::Result<()> {
    check(
        // SAFETY: no memory is involved.
        unsafe { libc::setsid() },
    )?;
    for group in &confinement.cgroups {
        nix::unistd::write(group, b"0")?;
    }
    if let Some(netns) = &confinement.netns {
        nix::sched::setns(netns, nix::sched::CloneFlags::CLONE_NEWNET)?;
    }
    if let Some(tap) = &confinement.tap {
        tap.open()?;
    }
    set_oom_score(confinement.oom_score)?;
    for (resource, limit) in [
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_NOFILE, 1024),
        (libc::RLIMIT_MEMLOCK, 0),
        (libc::RLIMIT_MSGQUEUE, 0),
    ] {
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: `limit` lives through the call.
        check(unsafe { libc::setrlimit(resource, &limit) })?;
    }
    drop_rights(confinement.run_as, &confinement.groups)?;
    if let Some(tap) = &confinement.tap {
        tap.attach()?;
    }
    for &descriptor in &confinement.keep {
        // SAFETY: no memory is involved; the descriptor is open in this copy of the process.
        check(unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) })?;
    }
    Ok(())
}

/// Becomes `run_as` for good: no other group, no capability in any set, none to be gained.
fn drop_rights(run_as: RunAs, groups: &[u32]) -> io::Result<()> {
    const HIGHEST_CAPABILITY: libc::c_ulong = 63;
    // SAFETY: prctl and the set*id calls take numbers, and setgroups a list with its length.
    unsafe {
        for capability in 0..=HIGHEST_CAPABILITY {
            // Fails past the last capability that this kernel knows.
            if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 {
                break;
            }
        }
        check(libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))?;
        check(libc::setgroups(groups.len(), groups.as_ptr()))?;
        check(libc::setresgid(run_as.gid, run_as.gid, run_as.gid))?;
        // Leaving uid 0 empties the permitted and effective sets.
        check(libc::setresuid(run_as.uid, run_as.uid, run_as.uid))?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    }
}

fn set_oom_score(score: i32) -> io::Result<()> {
    // Written digit by digit: nothing may allocate here.
    let mut text = [0u8; 12];
    let mut at = text.len();
    let mut rest = score.unsigned_abs();
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if score < 0 {
        at -= 1;
        text[at] = b'-';
    }
    // SAFETY: the path ends in a zero byte, and the text lives through the call.
    unsafe {
        let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        check(file)?;
        let written = libc::write(file, text[at..].as_ptr().cast(), text.len() - at);
        libc::close(file);
        check(if written < 0 { -1 } else { 0 })
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
