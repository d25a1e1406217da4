use super::{ChannelId, Mux};
use crate::codec::{Write, uint_len};
use crate::wire::Message;

/// Bytes after which a batch goes out: large enough that a frame's cost does not count, small enough that the
/// other side can work on one while the next is made.
const FRAME_GOAL: usize = 128 << 10;
/// The most that goes before a message: two channel numbers, a length and a zero.
const HEAD_BYTES: usize = 32;

/// A frame that is being filled with messages; the bytes go straight into the caller's buffer.
#[derive(Debug)]
pub struct Opening<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    channel: Option<ChannelId>,
}

impl Mux {
    /// Appends the next frame of openings, refusals and closings to `out`, without its length. Ask until there is
    /// none before messages are sent, so that a channel is opened before it is used.
    pub fn poll_control(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(control) = self.control.pop_front() else { return false };
        out.extend_from_slice(&control);
        true
    }

    /// Whether [`poll_control`](Self::poll_control) has something.
    pub fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    /// Begins a frame of messages at the end of `out`. Nothing is written before the first message.
    pub const fn frame<'a>(&self, out: &'a mut Vec<u8>) -> Opening<'a> {
        let start = out.len();
        Opening { out, start, channel: None }
    }
}

impl Opening<'_> {
    /// Whether the frame should go out before more is added.
    pub fn is_full(&self) -> bool {
        self.out.len() - self.start >= FRAME_GOAL
    }

    /// Whether it has no messages.
    pub fn is_empty(&self) -> bool {
        self.channel.is_none()
    }

    /// Adds a message of `hypercore/alpha`.
    pub fn push(&mut self, channel: ChannelId, message: &Message) {
        let kind = message.kind();
        self.head(channel, uint_len(kind) + message.encoded_len(), kind);
        message.encode(self.out);
    }

    /// Adds a message of any protocol.
    pub fn push_raw(&mut self, channel: ChannelId, kind: u64, payload: &[u8]) {
        self.head(channel, uint_len(kind) + payload.len(), kind);
        self.out.raw(payload);
    }

    fn head(&mut self, channel: ChannelId, length: usize, kind: u64) {
        self.out.reserve(length + HEAD_BYTES);
        match self.channel {
            None => {
                self.out.uint(0);
                self.out.uint(0);
                self.out.uint(u64::from(channel.0));
            }
            Some(last) if last != channel => {
                self.out.uint(0);
                self.out.uint(u64::from(channel.0));
            }
            Some(_) => {}
        }
        self.channel = Some(channel);
        self.out.uint(length as u64);
        self.out.uint(kind);
    }
}
