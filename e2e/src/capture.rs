//! Looking at what passes an interface, and measuring a handshake as the wire shows it.

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use std::collections::BTreeSet;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// One UDP datagram to or from the pal's port, as it passed.
#[derive(Clone, Debug)]
pub struct Passed {
    pub at: Instant,
    pub payload: Vec<u8>,
}

/// Collects WireGuard datagrams inside a namespace until it is asked for them.
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Passed>>,
}

impl Capture {
    /// Begins. When this returns, whatever passes from now on is seen.
    pub fn begin(namespace: &str, port: u16) -> Result<Self> {
        let socket = crate::inside::inside(namespace, || {
            let socket =
                socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
                    .context("cannot open a packet socket")?;
            setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(50))?;
            setsockopt(&socket, sockopt::RcvBuf, &(8 << 20))?;
            Ok(socket)
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || collect(&socket, port, &stopped));
        Ok(Capture { stop, thread })
    }

    /// Ends and gives what passed, in order.
    pub fn end(self) -> Vec<Passed> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn collect(socket: &OwnedFd, port: u16, stop: &AtomicBool) -> Vec<Passed> {
    let mut passed = Vec::new();
    let mut frame = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        match recv(socket.as_raw_fd(), &mut frame, MsgFlags::empty()) {
            Ok(size) => {
                if let Some(payload) = udp_payload(&frame[..size], port) {
                    passed.push(Passed { at: Instant::now(), payload: payload.to_vec() });
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => break,
        }
    }
    passed
}

/// The payload of a UDP datagram over IPv4 over Ethernet that goes to or comes from a port.
fn udp_payload(frame: &[u8], port: u16) -> Option<&[u8]> {
    let packet = frame.get(14..)?;
    if frame.get(12..14)? != [8, 0] || *packet.get(9)? != 17 {
        return None;
    }
    let udp = packet.get(usize::from(packet[0] & 15) * 4..)?;
    let ports = [udp.get(0..2)?, udp.get(2..4)?];
    let size = usize::from(u16::from_be_bytes(udp.get(4..6)?.try_into().ok()?));
    let right = ports.iter().any(|bytes| **bytes == port.to_be_bytes());
    right.then(|| udp.get(8..size)).flatten()
}

/// Initiations among what passed that were answered: a response names the initiation's sender.
pub fn answered_initiations(passed: &[Passed]) -> Vec<Vec<u8>> {
    let of = |kind: u8, size: usize| {
        passed.iter().map(|one| &one.payload).filter(move |bytes| bytes.len() == size && bytes[0] == kind)
    };
    let answered: BTreeSet<&[u8]> = of(2, 92).map(|response| &response[8..12]).collect();
    of(1, 148).filter(|initiation| answered.contains(&initiation[4..8])).cloned().collect()
}

/// Milliseconds from the first initiation to the first response.
pub fn handshake_ms(passed: &[Passed]) -> Option<f64> {
    let first =
        |kind: u8, size: usize| passed.iter().find(|one| one.payload.len() == size && one.payload[0] == kind);
    let took = first(2, 92)?.at.checked_duration_since(first(1, 148)?.at)?;
    Some(took.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn frame(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0]);
        let mut ip = [0; 20];
        (ip[0], ip[9]) = (0x45, 17);
        frame.extend(ip);
        frame.extend(from.to_be_bytes());
        frame.extend(to.to_be_bytes());
        frame.extend((payload.len() as u16 + 8).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(payload);
        // Ethernet pads short frames.
        frame.extend([0; 6]);
        frame
    }

    #[test]
    fn finds_the_payload_without_the_padding() {
        assert_eq!(udp_payload(&frame(4000, 51820, b"hello"), 51820), Some(b"hello".as_slice()));
        assert_eq!(udp_payload(&frame(51820, 4000, b"hello"), 51820), Some(b"hello".as_slice()));
        assert_eq!(udp_payload(&frame(4000, 4001, b"hello"), 51820), None);
        let whole = frame(1, 51820, b"hello");
        for cut in 0..whole.len() {
            let _ = udp_payload(&whole[..cut], 51820);
        }
    }

    #[test]
    fn a_handshake_is_the_first_answer_after_the_first_question() {
        let start = Instant::now();
        let passed = |ms: u64, kind: u8, size: usize| {
            let mut payload = vec![0; size];
            payload[0] = kind;
            Passed { at: start + Duration::from_millis(ms), payload }
        };
        let seen = [passed(5, 1, 148), passed(9, 1, 148), passed(30, 2, 92), passed(31, 4, 96)];
        assert_eq!(handshake_ms(&seen).map(f64::round), Some(25.0));
        assert_eq!(handshake_ms(&seen[..2]), None);
    }

    #[test]
    fn only_answered_initiations_are_worth_replaying() {
        let passed = |kind: u8, size: usize, at: usize, number: u8| {
            let mut payload = vec![0; size];
            (payload[0], payload[at]) = (kind, number);
            Passed { at: Instant::now(), payload }
        };
        let seen = [passed(1, 148, 4, 7), passed(1, 148, 4, 8), passed(2, 92, 8, 8), passed(4, 92, 8, 7)];
        let answered = answered_initiations(&seen);
        assert_eq!((answered.len(), answered[0][4]), (1, 8));
    }
}
