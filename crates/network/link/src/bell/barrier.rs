//! Proof that the machine has taken everything that was put on its tap.
#![allow(unsafe_code)]

use super::wire::{ARP, Wire};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Whether the machine proved that its queue is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// It answered: everything sent to it before the barrier was taken in.
    Taken {
        /// How long it took.
        after: Duration,
    },
    /// It did not answer in time. Force the pause rather than let it stay awake for ever.
    Silent,
}

/// Who asks whom.
#[derive(Clone, Copy)]
pub(super) struct Question {
    pub(super) from_mac: [u8; 6],
    pub(super) from: Ipv4Addr,
    pub(super) to_mac: [u8; 6],
    pub(super) to: Ipv4Addr,
}

/// A question lost on the way is asked again this often.
const AGAIN: Duration = Duration::from_millis(50);

/// Waits until no packet is between a route that was switched before and the tap, then asks the
/// machine for its hardware address: the question queues behind everything, so its answer says that
/// everything was taken.
pub(super) fn wait(wire: &Wire, question: Question, timeout: Duration) -> io::Result<Barrier> {
    let begun = Instant::now();
    everybody_saw_the_route()?;
    let deadline = begun + timeout;
    // Answers from before this barrier do not count.
    let mut buffer = [0; 256];
    while wire.receive(&mut buffer)?.is_some() {}
    while Instant::now() < deadline {
        wire.send(&question.frame(), deadline)?;
        let next = deadline.min(Instant::now() + AGAIN);
        if answered(wire, question, next)? {
            return Ok(Barrier::Taken { after: begun.elapsed() });
        }
    }
    Ok(Barrier::Silent)
}

fn answered(wire: &Wire, question: Question, until: Instant) -> io::Result<bool> {
    let mut buffer = [0; 256];
    loop {
        while let Some(frame) = wire.receive(&mut buffer)? {
            if question.is_answer(frame) {
                return Ok(true);
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = PollTimeout::try_from(left.as_millis() as u64 + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(wire.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A grace period of the kernel: whoever looked the route up before has put its packet down by now.
fn everybody_saw_the_route() -> io::Result<()> {
    // SAFETY: takes numbers and touches no memory of ours.
    let done = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl Question {
    fn frame(&self) -> Vec<u8> {
        let mut frame = [&self.to_mac[..], &self.from_mac, &ARP.to_be_bytes()].concat();
        // Ethernet, IPv4, sizes of both addresses, request.
        frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend(self.from_mac);
        frame.extend(self.from.octets());
        frame.extend([0; 6]);
        frame.extend(self.to.octets());
        frame.resize(60, 0);
        frame
    }

    fn is_answer(&self, frame: &[u8]) -> bool {
        frame.len() >= 42
            && frame[..6] == self.from_mac
            && frame[12..22] == [8, 6, 0, 1, 8, 0, 6, 4, 0, 2]
            && frame[28..32] == self.to.octets()
    }
}
