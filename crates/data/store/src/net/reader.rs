use super::link::{Link, ending};
use super::secretstream::{BEFORE, BEHIND, Direction};
use crate::disk::LogId;
use crate::shared::Shared;
use crate::store::Inner;
use bytes::{Buf, Bytes};
use cloudpal_log::replicate::{ConnectionError, ConnectionEvent, PeerId};
use cloudpal_log::wire::{FrameError, Frames, MAX_FRAME, Message};
use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Weak};

/// What is read from the system at once.
const GULP: usize = 256 << 10;

/// Messages for one log, in order.
type Mail = HashMap<LogId, (Arc<Shared>, Vec<(PeerId, Message)>)>;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
enum ReadFault {
    #[error("{}", ending(.0))]
    Stream(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the peer's stream does not decrypt")]
    Cipher,
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("the store was closed")]
    Closed,
}

/// Starts the thread that reads a connection.
pub(crate) fn start(link: &Arc<Link>, inner: Weak<Inner>, receive: Direction) -> io::Result<()> {
    let link = Arc::clone(link);
    std::thread::Builder::new()
        .name("store-reader".into())
        .spawn(move || {
            let mut reader = Reader { link, inner, receive, frames: Frames::new() };
            if let Err(fault) = reader.run() {
                tracing::debug!(%fault, "a connection ended");
                reader.link.end(fault.to_string());
            }
        })
        .map(drop)
}

struct Reader {
    link: Arc<Link>,
    inner: Weak<Inner>,
    receive: Direction,
    frames: Frames,
}

impl Reader {
    fn run(&mut self) -> Result<(), ReadFault> {
        loop {
            self.gulp()?;
            let mut at_hand = Vec::new();
            while let Some(mut frame) = self.frames.next(MAX_FRAME)? {
                self.receive.pull(&mut frame).ok_or(ReadFault::Cipher)?;
                frame.advance(BEFORE);
                frame.truncate(frame.len() - BEHIND);
                if !frame.is_empty() {
                    at_hand.push(frame.freeze());
                }
            }
            if !at_hand.is_empty() {
                self.take_in(&at_hand)?;
            }
        }
    }

    /// Reads once, with room for the rest of a frame that has begun.
    fn gulp(&mut self) -> Result<(), ReadFault> {
        let room = self.frames.missing().clamp(GULP, GULP * 4);
        let buffer = self.frames.buffer();
        let before = buffer.len();
        buffer.resize(before + room, 0);
        let mut stream = &self.link.stream;
        let read = loop {
            match stream.read(&mut buffer[before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        buffer.truncate(before + read.as_ref().map_or(0, |read| *read));
        if read? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }

    fn take_in(&self, frames: &[Bytes]) -> Result<(), ReadFault> {
        let inner = self.inner.upgrade().filter(|inner| !inner.is_closed()).ok_or(ReadFault::Closed)?;
        let mut mail = Mail::new();
        for frame in frames {
            self.sort(&inner, frame, &mut mail)?;
        }
        let now = inner.now();
        for (shared, messages) in mail.into_values() {
            shared.deliver(&inner, messages, now);
        }
        Ok(())
    }

    /// Takes in one frame: channels are dealt with here, messages are put to their logs.
    fn sort(&self, inner: &Arc<Inner>, frame: &Bytes, mail: &mut Mail) -> Result<(), ReadFault> {
        let mut mux = self.link.lock();
        mux.connection.handle_frame(frame)?;
        while let Some(event) = mux.connection.poll_event()? {
            match event {
                ConnectionEvent::Message { channel, message } => {
                    let peer = mux.connection.peer(channel);
                    if let Some((peer, shared)) = peer.zip(mux.channels.get(&channel)) {
                        let entry = mail.entry(shared.id);
                        entry.or_insert_with(|| (Arc::clone(shared), Vec::new())).1.push((peer, message));
                    }
                }
                ConnectionEvent::Wanted { discovery_key } => {
                    let found = inner.find(&discovery_key).unwrap_or_else(|error| {
                        tracing::warn!(%error, "a log that a peer asks for does not open");
                        None
                    });
                    let attached = found.is_some_and(|shared| mux.attach(&shared, &self.link.remote_key));
                    if !attached {
                        mux.connection.refuse(&discovery_key);
                    }
                    self.link.signal.control();
                }
                ConnectionEvent::Opened { channel, seeks } => {
                    if let Some(shared) = mux.channels.get(&channel).cloned() {
                        let peer = shared.join(seeks, inner.now(), &self.link.signal, channel);
                        mux.connection.set_peer(channel, peer);
                        self.link.signal.ready(channel);
                    }
                }
                ConnectionEvent::Closed { channel, peer } => {
                    if let Some((shared, peer)) = mux.detach(channel).zip(peer) {
                        shared.leave(peer);
                    }
                }
                // No other protocol is spoken here: what a peer offers is refused by the mux.
                ConnectionEvent::Foreign(_) => {}
            }
        }
        Ok(())
    }
}
