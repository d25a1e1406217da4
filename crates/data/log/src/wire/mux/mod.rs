mod control;
mod incoming;
mod outgoing;
mod state;
#[cfg(test)]
mod tests;

pub use outgoing::Opening;

use crate::codec::CodecError;
use bytes::Bytes;
use state::{Key, Pairs, Remote, Slots};
use std::collections::VecDeque;

/// Many channels on one stream, as protomux has them. Pure: decrypted frames go in, frames to encrypt come out.
///
/// ```text
/// we open ──────────> offered ──the other side opens the same──> paired ──either closes──> gone
/// the other side opens ─> wanted (event) ──we open the same──────^   └─ messages both ways
///                            └──refuse──> gone (it hears "reject")
/// ```
///
/// A channel is a pair of openings with the same protocol and id, one from each side, matched in order. What the
/// other side sends before the pair is complete waits, up to [`Limits::early_bytes`].
#[derive(Debug)]
pub struct Mux {
    limits: Limits,
    slots: Slots,
    pairs: Pairs,
    control: VecDeque<Vec<u8>>,
    events: VecDeque<MuxEvent>,
    early_bytes: usize,
}

/// A channel, by the number that this side gave it. Numbers are used again after a channel is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub(super) u32);

/// What a peer may make us keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Channels it may have open at a time.
    pub channels: usize,
    /// Bytes it may send on channels that we have not opened yet.
    pub early_bytes: usize,
    /// Bytes of a protocol's name and of an id, each.
    pub name_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // JS sets none; a store of thousands of logs opens a channel for each.
        Limits { channels: 65_536, early_bytes: 4 << 20, name_bytes: 1024 }
    }
}

/// What happened on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MuxEvent {
    /// The other side opened what we have not: answer with [`Mux::open`] or [`Mux::refuse`].
    Wanted {
        /// The protocol's name.
        protocol: String,
        /// Which of its channels.
        id: Option<Bytes>,
    },
    /// Both sides have opened it.
    Opened {
        /// Which.
        channel: ChannelId,
        /// What the other side said with it.
        handshake: Bytes,
    },
    /// A message came.
    Message {
        /// On which channel.
        channel: ChannelId,
        /// Which of the protocol's messages.
        kind: u64,
        /// The message, a slice of its frame.
        payload: Bytes,
    },
    /// The other side closed or refused it. Its number may be used again.
    Closed {
        /// Which.
        channel: ChannelId,
    },
}

/// What no honest peer sends; the stream is of no more use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MuxError {
    /// A frame that cannot be read.
    #[error("the peer sent a frame that cannot be read")]
    Frame(#[from] CodecError),
    /// An open message with a number that is taken or too far ahead.
    #[error("the peer opened channel {0}, which it cannot")]
    Number(u64),
    /// A reject message for a channel that was not offered.
    #[error("the peer refused channel {0}, which was not offered")]
    Refusal(u64),
    /// A limit was passed.
    #[error("the peer went past the limit of {0}")]
    Limit(&'static str),
}

impl Mux {
    /// A stream with no channels.
    pub fn new(limits: Limits) -> Self {
        Mux {
            limits,
            slots: Slots::default(),
            pairs: Pairs::default(),
            control: VecDeque::new(),
            events: VecDeque::new(),
            early_bytes: 0,
        }
    }

    /// What happened, in order.
    pub fn poll_event(&mut self) -> Option<MuxEvent> {
        self.events.pop_front()
    }

    /// Opens a channel, by itself or in answer to [`MuxEvent::Wanted`].
    pub fn open(&mut self, protocol: &str, id: Option<&[u8]>, handshake: &[u8]) -> ChannelId {
        let key = Key::new(protocol, id);
        let channel = self.slots.open_local(key.clone());
        self.control.push_back(control::open(channel, &key, handshake));
        match self.pairs.take_incoming(&key) {
            Some(remote) => self.pair(channel, remote),
            None => self.pairs.offer(key, channel),
        }
        channel
    }

    /// Refuses what the other side wanted, all its openings of that name.
    pub fn refuse(&mut self, protocol: &str, id: Option<&[u8]>) {
        let key = Key::new(protocol, id);
        while let Some(remote) = self.pairs.take_incoming(&key) {
            if let Some(Remote::Early { messages, .. }) = self.slots.close_remote(remote) {
                self.early_bytes -= incoming::weight(&messages);
            }
            self.control.push_back(control::reject(remote));
        }
    }

    /// Closes a channel; it gives no more events. Nothing happens when the other side was first.
    pub fn close(&mut self, channel: ChannelId) {
        if let Some(local) = self.slots.close_local(channel) {
            self.control.push_back(control::close(channel));
            match local.remote {
                Some(remote) => {
                    self.slots.close_remote(remote);
                    self.slots.free(channel);
                }
                // Its number rests until the other side has opened or refused it.
                None => self.pairs.abandon(&local.key, channel),
            }
        }
    }

    /// Whether a channel is open on both sides.
    pub fn is_open(&self, channel: ChannelId) -> bool {
        self.slots.local(channel).is_some_and(|local| local.remote.is_some())
    }

    fn pair(&mut self, channel: ChannelId, remote: u32) {
        let Some(early) = self.slots.pair(channel, remote) else { return };
        self.events.push_back(MuxEvent::Opened { channel, handshake: early.handshake });
        self.early_bytes -= incoming::weight(&early.messages);
        for (kind, payload) in early.messages {
            self.events.push_back(MuxEvent::Message { channel, kind, payload });
        }
    }
}
