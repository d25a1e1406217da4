//! The channel to `cloudpal-init`: a socket inherited as standard input.

use cloudpal_protocol::frame::{Decoder, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// What comes from init.
pub struct Incoming {
    socket: OwnedReadHalf,
    decoder: Decoder,
}

/// What goes to init.
pub struct Outgoing(OwnedWriteHalf);

/// Takes over standard input.
pub fn inherited() -> io::Result<(Incoming, Outgoing)> {
    let socket = net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    let (read, write) = UnixStream::from_std(socket)?.into_split();
    Ok((Incoming { socket: read, decoder: Decoder::default() }, Outgoing(write)))
}

impl Incoming {
    /// The next message; none when init is gone. Can be cancelled without losing anything.
    pub async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            while let Some(message) = self.decoder.pop() {
                // What this version does not know is skipped.
                if let Ok(message) = message {
                    return Ok(Some(message));
                }
            }
            let mut buffer = [0; 4096];
            match self.socket.read(&mut buffer).await? {
                0 => return Ok(None),
                size => self.decoder.extend(&buffer[..size]),
            }
        }
    }
}

impl Outgoing {
    /// Sends one message.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        let frame = encode(message).map_err(io::Error::other)?;
        self.0.write_all(&frame).await
    }
}
