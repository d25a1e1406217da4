//! The way to peers: Noise XX, secretstream and frames over TCP, three threads for each connection.

mod access;
mod handshake;
mod intake;
mod link;
mod reader;
mod secretstream;
mod serve;
mod signal;
mod writer;

pub use access::Access;
pub use handshake::HandshakeError;
pub(crate) use handshake::public_key;
pub use link::Connection;
pub(crate) use link::Link;
pub(crate) use serve::connect;
pub use serve::{ConnectError, Server};
pub(crate) use signal::Signal;
