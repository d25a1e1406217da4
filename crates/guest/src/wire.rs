//! One byte channel with frames both ways, never waiting for the other end: the host's virtio port, or
//! the socket pair with a child.

use cloudpal_protocol::frame::{Decoder, encode};
use nix::errno::Errno;
use nix::unistd::{read, write};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// At most this many bytes wait for a peer that is away; then the oldest frames go.
const MAX_QUEUED: usize = 512 * 1024;

/// How reading went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// All there was has been read.
    Something,
    /// The other end is away or gone.
    Nobody,
}

/// A channel. The descriptor must be non-blocking.
pub struct Wire {
    fd: OwnedFd,
    decoder: Decoder,
    queue: VecDeque<Vec<u8>>,
    queued: usize,
    /// How much of the first frame in the queue is written.
    written: usize,
}

impl Wire {
    /// Takes the descriptor over.
    pub fn new(fd: OwnedFd) -> Self {
        Wire { fd, decoder: Decoder::default(), queue: VecDeque::new(), queued: 0, written: 0 }
    }

    /// Sends a message, or keeps it until the other end takes it. A message too large for a frame is
    /// dropped: none of ours is.
    pub fn send<T: Serialize>(&mut self, message: &T) {
        let Ok(frame) = encode(message) else { return };
        self.queued += frame.len();
        self.queue.push_back(frame);
        self.flush();
        // The first frame stays if part of it is out.
        let keep = usize::from(self.written > 0);
        while self.queued > MAX_QUEUED && self.queue.len() > keep + 1 {
            self.queued -= self.queue.remove(keep).map_or(0, |frame| frame.len());
        }
    }

    /// Writes what the other end takes now.
    pub fn flush(&mut self) {
        while let Some(frame) = self.queue.front() {
            match write(&self.fd, &frame[self.written..]) {
                Ok(size) if size > 0 => self.written += size,
                Err(Errno::EINTR) => continue,
                // Full, or nobody there: later.
                _ => return,
            }
            if self.written == frame.len() {
                self.queued -= frame.len();
                self.written = 0;
                self.queue.pop_front();
            }
        }
    }

    /// Whether something waits to be written.
    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Reads all there is.
    pub fn hear(&mut self) -> Heard {
        let mut buffer = [0; 16 * 1024];
        loop {
            match read(&self.fd, &mut buffer) {
                Ok(0) => return Heard::Nobody,
                Ok(size) => self.decoder.extend(&buffer[..size]),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Heard::Something,
                Err(_) => return Heard::Nobody,
            }
        }
    }

    /// The next message that was read. What this version does not know is skipped.
    pub fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            match self.decoder.pop() {
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) => {}
                None => return None,
            }
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Wire, Wire) {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        b.set_nonblocking(true).unwrap();
        (Wire::new(a.into()), Wire::new(b.into()))
    }

    #[test]
    fn keeps_the_newest_for_a_peer_that_is_away() {
        let (mut a, mut b) = pair();
        for number in 0..100u32 {
            a.send(&(number, vec![0u8; 20_000]));
        }
        assert!(a.queued <= MAX_QUEUED + 20_100, "bounded: {}", a.queued);
        let mut got = Vec::new();
        while a.is_waiting() || got.last() != Some(&99) {
            assert_eq!(b.hear(), Heard::Something);
            got.extend(std::iter::from_fn(|| b.next::<(u32, Vec<u8>)>()).map(|(number, _)| number));
            a.flush();
        }
        assert!(got.is_sorted() && got.len() < 100 && got[0] == 0, "{got:?}");
    }

    #[test]
    fn notices_that_the_peer_is_gone() {
        let (a, mut b) = pair();
        drop(a);
        assert_eq!(b.hear(), Heard::Nobody);
    }
}
