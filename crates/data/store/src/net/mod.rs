//! The way to peers: Noise XX, secretstream and frames over TCP, or what a [`Carrier`] brings; three threads for each
//! connection.

mod access;
mod carrier;
mod handshake;
mod intake;
mod link;
mod reader;
mod secretstream;
mod serve;
mod signal;
mod tcp;
mod writer;

pub use access::Access;
pub use carrier::{Carrier, FrameSink, FrameSource, Offer};
pub use handshake::HandshakeError;
pub(crate) use handshake::public_key;
pub use link::Connection;
pub(crate) use link::Link;
pub(crate) use serve::connect;
pub use serve::{ConnectError, Server};
pub(crate) use signal::Signal;
