use bytes::Bytes;
use cloudpal_log::wire::Role;
use std::io;
use std::net::SocketAddr;

/// Frames that come from a peer, decrypted and authenticated.
pub trait FrameSource: Send + 'static {
    /// Blocks until a frame has come, and puts all that are at hand behind what `frames` holds. The end of the stream
    /// is [`UnexpectedEof`](io::ErrorKind::UnexpectedEof), a peer silent for too long [`TimedOut`](io::ErrorKind::TimedOut).
    fn receive(&mut self, frames: &mut Vec<Bytes>) -> io::Result<()>;
}

/// Where frames to a peer go.
pub trait FrameSink: Send + 'static {
    /// Sends one frame of up to 16,777,198 bytes; blocks while the peer takes none. An empty frame only shows that
    /// this side is alive.
    fn send(&mut self, frame: &[u8]) -> io::Result<()>;
}

/// A connection that was made and secured elsewhere, for [`Store::attach`](crate::Store::attach). What it carries must
/// be encrypted and authenticated, and arrive whole and in order.
pub struct Carrier {
    /// Which side of the handshake was ours.
    pub role: Role,
    /// The handshake's hash, the same on both sides: what a peer proves about a log is bound to it.
    pub hash: [u8; 64],
    /// The static key that the peer proved.
    pub remote_key: [u8; 32],
    /// Where the peer is, if that is known.
    pub remote_address: Option<SocketAddr>,
    /// Which logs the peer is told of.
    pub offer: Offer,
    /// What it sends.
    pub source: Box<dyn FrameSource>,
    /// What it is sent.
    pub sink: Box<dyn FrameSink>,
    /// Ends the connection: `source` and `sink` fail from then on. May be called more than once.
    pub hang_up: Box<dyn Fn() + Send + Sync>,
}

/// Which logs a peer is told of that did not ask for them. It learns discovery keys, by which it can tell that a log is
/// here if it knows that log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// All that are open here and that it may have.
    Open,
    /// None: it gets what it asks for.
    Nothing,
}
