use peeroxide_dht::hyperdht::HyperDhtError;
use std::io;

/// Why this machine does not get onto the table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The text is no address of a node.
    #[error("`{0}` is no address of a node of the DHT, such as 192.0.2.7:49737")]
    Address(String),
    /// The system gives no thread or runtime.
    #[error("cannot start the DHT's thread")]
    Thread(#[source] io::Error),
    /// The system gives no port.
    #[error("cannot open a UDP port for the DHT")]
    Port(#[source] Box<HyperDhtError>),
    /// Nobody answers.
    #[error(
        "no node of the DHT answers at {0}: is this machine on the network, and are the addresses right?"
    )]
    Silent(String),
}
