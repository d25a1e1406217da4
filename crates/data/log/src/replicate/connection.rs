use super::event::PeerId;
use crate::codec::CodecError;
use crate::hash;
use crate::wire::{
    ChannelId, Handshake, Limits, Message, Mux, MuxError, MuxEvent, Opening, Role, capability,
};
use bytes::Bytes;
use std::collections::HashMap;

/// The protocol of logs.
const ALPHA: &str = "hypercore/alpha";

/// Many logs, and channels of other protocols, on one stream. Pure: decrypted frames in, frames to encrypt out.
///
/// ```
/// use bytes::Bytes;
/// use cloudpal_log::replicate::{Connection, ConnectionEvent};
/// use cloudpal_log::wire::{Message, Role};
///
/// // Both ends know the hash of the handshake that they have done.
/// let mut ours = Connection::new(Role::Initiator, [7; 64]);
/// let mut theirs = Connection::new(Role::Responder, [7; 64]);
/// let key = [1; 32];
/// ours.open(&key);
/// let mut frame = Vec::new();
/// while ours.poll_control(&mut frame) {
///     theirs.handle_frame(&Bytes::from(std::mem::take(&mut frame)))?;
/// }
/// // The other side has the log that is asked for, and opens it too.
/// assert!(matches!(theirs.poll_event()?, Some(ConnectionEvent::Wanted { .. })));
/// let channel = theirs.open(&key);
/// assert_eq!(theirs.poll_event()?, Some(ConnectionEvent::Opened { channel, seeks: true }));
/// # Ok::<(), cloudpal_log::replicate::ConnectionError>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    mux: Mux,
    role: Role,
    handshake_hash: [u8; 64],
    logs: HashMap<ChannelId, Attached>,
}

#[derive(Debug)]
struct Attached {
    key: [u8; 32],
    peer: Option<PeerId>,
}

/// What happened on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// The other side asks for a log that is not open here: [`Connection::open`] or [`Connection::refuse`] it.
    Wanted {
        /// Of the log.
        discovery_key: [u8; 32],
    },
    /// A log is open on both sides, and the other side has shown that it knows the key.
    Opened {
        /// Its channel.
        channel: ChannelId,
        /// The other side answers requests for a byte.
        seeks: bool,
    },
    /// A message about a log.
    Message {
        /// The log's channel.
        channel: ChannelId,
        /// What it says.
        message: Message,
    },
    /// The other side closed or refused a channel.
    Closed {
        /// Which.
        channel: ChannelId,
        /// The peer that was set for it.
        peer: Option<PeerId>,
    },
    /// Something about another protocol.
    Foreign(MuxEvent),
}

/// Why a stream cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The other side does not keep to the protocol.
    #[error("cannot go on with the peer's stream")]
    Mux(#[from] MuxError),
    /// A message of a log cannot be read.
    #[error("the peer sent a message about a log that cannot be read")]
    Message(#[from] CodecError),
    /// The other side does not know the key of the log that it asks for.
    #[error("the peer asked for a log whose key it does not know")]
    Capability,
}

impl Connection {
    /// Over a stream whose handshake is done.
    pub fn new(role: Role, handshake_hash: [u8; 64]) -> Self {
        Connection { mux: Mux::new(Limits::default()), role, handshake_hash, logs: HashMap::new() }
    }

    /// Takes in one decrypted frame; what it said follows from [`poll_event`](Self::poll_event).
    pub fn handle_frame(&mut self, frame: &Bytes) -> Result<(), ConnectionError> {
        Ok(self.mux.handle_frame(frame)?)
    }

    /// Opens a log, by itself or in answer to [`ConnectionEvent::Wanted`].
    pub fn open(&mut self, key: &[u8; 32]) -> ChannelId {
        let capability = capability(self.role, key, &self.handshake_hash);
        let mut handshake = Vec::new();
        Handshake { seeks: true, capability }.encode(&mut handshake);
        let channel = self.mux.open(ALPHA, Some(&hash::discovery_key(key)), &handshake);
        self.logs.insert(channel, Attached { key: *key, peer: None });
        channel
    }

    /// Refuses a log that the other side asked for.
    pub fn refuse(&mut self, discovery_key: &[u8; 32]) {
        self.mux.refuse(ALPHA, Some(discovery_key));
    }

    /// Closes a channel. No event follows.
    pub fn close(&mut self, channel: ChannelId) {
        self.logs.remove(&channel);
        self.mux.close(channel);
    }

    /// Notes which peer of the log's [`Replicator`](super::Replicator) a channel is.
    pub fn set_peer(&mut self, channel: ChannelId, peer: PeerId) {
        if let Some(attached) = self.logs.get_mut(&channel) {
            attached.peer = Some(peer);
        }
    }

    /// The peer that a channel is.
    pub fn peer(&self, channel: ChannelId) -> Option<PeerId> {
        self.logs.get(&channel)?.peer
    }

    /// The key of the log that a channel is for.
    pub fn key(&self, channel: ChannelId) -> Option<&[u8; 32]> {
        Some(&self.logs.get(&channel)?.key)
    }

    /// Channels of other protocols: open and close them here, send with [`Opening::push_raw`].
    pub const fn mux(&mut self) -> &mut Mux {
        &mut self.mux
    }

    /// Appends the next frame of openings and closings to `out`. Ask until there is none before messages are sent.
    pub fn poll_control(&mut self, out: &mut Vec<u8>) -> bool {
        self.mux.poll_control(out)
    }

    /// Begins a frame of messages at the end of `out`.
    pub const fn frame<'a>(&self, out: &'a mut Vec<u8>) -> Opening<'a> {
        self.mux.frame(out)
    }

    /// What happened, oldest first. After an error the stream is of no more use.
    pub fn poll_event(&mut self) -> Result<Option<ConnectionEvent>, ConnectionError> {
        while let Some(event) = self.mux.poll_event() {
            if let Some(event) = self.translate(event)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn translate(&mut self, event: MuxEvent) -> Result<Option<ConnectionEvent>, ConnectionError> {
        let event = match event {
            MuxEvent::Wanted { protocol, id } if protocol == ALPHA => {
                match id.as_deref().and_then(|id| <[u8; 32]>::try_from(id).ok()) {
                    Some(discovery_key) => ConnectionEvent::Wanted { discovery_key },
                    None => {
                        self.mux.refuse(ALPHA, id.as_deref());
                        return Ok(None);
                    }
                }
            }
            MuxEvent::Opened { channel, handshake } => match self.logs.get(&channel) {
                Some(attached) => {
                    let handshake = Handshake::decode(&handshake)?;
                    let expected = capability(self.role.other(), &attached.key, &self.handshake_hash);
                    if handshake.capability != expected {
                        return Err(ConnectionError::Capability);
                    }
                    ConnectionEvent::Opened { channel, seeks: handshake.seeks }
                }
                None => ConnectionEvent::Foreign(MuxEvent::Opened { channel, handshake }),
            },
            MuxEvent::Message { channel, kind, payload } if self.logs.contains_key(&channel) => {
                match Message::decode(kind, &payload)? {
                    Some(message) => ConnectionEvent::Message { channel, message },
                    None => return Ok(None),
                }
            }
            MuxEvent::Closed { channel } => match self.logs.remove(&channel) {
                Some(attached) => ConnectionEvent::Closed { channel, peer: attached.peer },
                None => ConnectionEvent::Foreign(MuxEvent::Closed { channel }),
            },
            other => ConnectionEvent::Foreign(other),
        };
        Ok(Some(event))
    }
}
