//! The byte channel to the guest: a writer here, a reader on a thread of its own.

use super::Message;
use cloudpal_protocol::frame::{Decoder, EncodeError, encode};
use cloudpal_protocol::guest::{ToGuest, ToHost};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// A guest that takes no bytes for this long is not written to any further.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// An open channel.
pub(crate) struct Port {
    /// Tells this channel's messages from those of an earlier one.
    pub(crate) number: u64,
    stream: UnixStream,
}

/// A frame could not be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("a frame for the guest cannot be made")]
    Encode(#[from] EncodeError),
    #[error("the guest's channel takes no frame")]
    Io(#[from] io::Error),
}

impl Port {
    /// Takes the channel over and starts reading.
    pub(crate) fn open(number: u64, stream: UnixStream, messages: Sender<Message>) -> io::Result<Port> {
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let reader = stream.try_clone()?;
        std::thread::Builder::new()
            .name(format!("port-{number}"))
            .spawn(move || read(number, reader, &messages))?;
        Ok(Port { number, stream })
    }

    /// Sends one frame.
    pub(crate) fn send(&mut self, frame: &ToGuest) -> Result<(), SendError> {
        self.stream.write_all(&encode(frame)?)?;
        Ok(())
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // Ends the reader's thread; a channel that is closed already needs no closing.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn read(number: u64, mut stream: UnixStream, messages: &Sender<Message>) {
    let mut decoder = Decoder::default();
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(size) => decoder.extend(&buffer[..size]),
        }
        while let Some(frame) = decoder.pop::<ToHost>() {
            // A guest may say what this version does not know; it is not worth more than a line.
            let Ok(frame) = frame.inspect_err(|error| tracing::warn!(%error, "unknown frame")) else {
                continue;
            };
            if messages.send(Message::Guest(number, frame)).is_err() {
                return;
            }
        }
    }
    // The worker may have gone; then nobody needs to know.
    let _ = messages.send(Message::PortClosed(number));
}
