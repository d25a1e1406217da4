use super::carrier::FrameSource;
use super::intake::{self, Mail};
use super::link::{Link, ending};
use super::tcp::TcpSource;
use crate::store::Inner;
use bytes::Bytes;
use cloudpal_log::replicate::{ConnectionError, ConnectionEvent};
use cloudpal_log::wire::FrameError;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Weak};

/// Gulps that may wait to be taken in: enough that both threads always have work, and little memory.
const WAITING: usize = 4;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadFault {
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

/// Where frames come from.
pub(super) enum Source {
    Tcp(TcpSource),
    Other(Box<dyn FrameSource>),
}

impl Source {
    fn receive(&mut self, at_hand: &mut Vec<Bytes>) -> Result<(), ReadFault> {
        match self {
            Source::Tcp(tcp) => tcp.receive(at_hand),
            Source::Other(other) => {
                other.receive(at_hand)?;
                at_hand.retain(|frame| !frame.is_empty());
                Ok(())
            }
        }
    }
}

/// Starts the two threads that read a connection: one receives, decrypts, sorts and hashes while the other checks
/// and stores what came before. They share the work of a fast peer about evenly.
pub(super) fn start(link: &Arc<Link>, inner: Weak<Inner>, source: Source) -> io::Result<()> {
    let (to, from) = sync_channel(WAITING);
    intake::start(Arc::clone(link), inner.clone(), from)?;
    let mut reader = Reader { link: Arc::clone(link), inner, source, to };
    std::thread::Builder::new()
        .name("store-reader".into())
        .spawn(move || {
            if let Err(fault) = reader.run() {
                // Behind all that came before it. When the other thread is gone, the connection has ended already.
                let _ended = reader.to.send(Err(fault));
            }
        })
        .map(drop)
}

struct Reader {
    link: Arc<Link>,
    inner: Weak<Inner>,
    source: Source,
    to: SyncSender<Result<Mail, ReadFault>>,
}

impl Reader {
    fn run(&mut self) -> Result<(), ReadFault> {
        loop {
            let mut at_hand = Vec::new();
            self.source.receive(&mut at_hand)?;
            let mut mail = Mail::default();
            let sorted = self.sort(&at_hand, &mut mail);
            mail.hash();
            if !mail.is_empty() && self.to.send(Ok(mail)).is_err() {
                return Ok(());
            }
            sorted?;
        }
    }

    /// Takes in frames: channels are dealt with here, messages are put to their logs.
    fn sort(&self, frames: &[Bytes], mail: &mut Mail) -> Result<(), ReadFault> {
        if frames.is_empty() {
            return Ok(());
        }
        let inner = self.inner.upgrade().filter(|inner| !inner.is_closed()).ok_or(ReadFault::Closed)?;
        let mut mux = self.link.lock();
        for frame in frames {
            mux.connection.handle_frame(frame)?;
            while let Some(event) = mux.connection.poll_event()? {
                match event {
                    ConnectionEvent::Message { channel, message } => {
                        let peer = mux.connection.peer(channel);
                        if let Some((peer, shared)) = peer.zip(mux.channels.get(&channel)) {
                            mail.put(shared, peer, message);
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
                            mail.leave(&shared, peer);
                        }
                    }
                    // No other protocol is spoken here: what a peer offers is refused by the mux.
                    ConnectionEvent::Foreign(_) => {}
                }
            }
        }
        Ok(())
    }
}
