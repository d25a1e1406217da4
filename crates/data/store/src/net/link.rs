use super::carrier::{Carrier, Offer};
use super::handshake::{Secured, handshake};
use super::reader::{self, Source};
use super::signal::Signal;
use super::tcp::{TcpSink, TcpSource};
use super::writer::{self, Sink};
use super::{Access, HandshakeError};
use crate::disk::LogId;
use crate::shared::Shared;
use crate::store::Inner;
use cloudpal_log::replicate;
use cloudpal_log::wire::{ChannelId, Role};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a greeting may take.
const GREETING: Duration = Duration::from_secs(10);
/// How long a peer may take none of what is sent, or say nothing at all. Peers say something every 5 seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// A connection to a peer, which replicates all open logs that both sides know. Clones are the same connection. It
/// goes on when this is dropped.
#[derive(Clone)]
pub struct Connection {
    link: Arc<Link>,
}

impl Connection {
    /// The static key that the peer proved.
    pub fn remote_key(&self) -> [u8; 32] {
        self.link.remote_key
    }

    /// Where the peer is.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.link.remote_address
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        self.link.lock().ended.is_some()
    }

    /// Ends it.
    pub fn close(&self) {
        self.link.close();
    }

    /// Waits until it has ended, at most for `timeout`, and tells why it did. None when it goes on.
    pub fn wait(&self, timeout: Duration) -> Option<String> {
        let running = |mux: &mut Mux| mux.ended.is_none();
        let waited = self.link.over.wait_timeout_while(self.link.lock(), timeout, running);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended.clone()
    }
}

/// What a connection's threads share.
pub(crate) struct Link {
    pub remote_key: [u8; 32],
    pub signal: Arc<Signal>,
    remote_address: Option<SocketAddr>,
    offer: Offer,
    hang_up: Box<dyn Fn() + Send + Sync>,
    mux: Mutex<Mux>,
    over: Condvar,
}

/// What is known of a connection before it replicates.
struct About {
    role: Role,
    hash: [u8; 64],
    remote_key: [u8; 32],
    remote_address: Option<SocketAddr>,
    offer: Offer,
    hang_up: Box<dyn Fn() + Send + Sync>,
}

/// The logs on a connection.
pub(crate) struct Mux {
    pub connection: replicate::Connection,
    pub channels: BTreeMap<ChannelId, Arc<Shared>>,
    open: HashMap<LogId, ChannelId>,
    /// Why it ended.
    ended: Option<String>,
}

impl Link {
    /// Greets the peer on `stream` and starts to replicate. Blocks until the greeting is done.
    pub(crate) fn start(
        inner: &Arc<Inner>,
        mut stream: TcpStream,
        role: Role,
        access: &Access,
    ) -> Result<Connection, HandshakeError> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(GREETING))?;
        stream.set_write_timeout(Some(GREETING))?;
        let secured = handshake(&mut stream, role, &inner.network, &|key| access.allows(key))?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        let Secured { send, receive, remote_key, hash } = secured;
        let remote_address = stream.peer_addr().ok();
        let stream = Arc::new(stream);
        let source = Source::Tcp(TcpSource::new(Arc::clone(&stream), receive));
        let sink = Sink::Tcp(TcpSink::new(Arc::clone(&stream), send));
        let hang_up = Box::new(move || {
            // Fails when the peer was first.
            let _closed = stream.shutdown(Shutdown::Both);
        });
        let about = About { role, hash, remote_key, remote_address, offer: Offer::Open, hang_up };
        Ok(Link::run(inner, about, source, sink)?)
    }

    /// Starts to replicate on a connection that was secured elsewhere.
    pub(crate) fn carry(inner: &Arc<Inner>, carrier: Carrier) -> io::Result<Connection> {
        let Carrier { role, hash, remote_key, remote_address, offer, source, sink, hang_up } = carrier;
        let about = About { role, hash, remote_key, remote_address, offer, hang_up };
        Link::run(inner, about, Source::Other(source), Sink::Other(sink))
    }

    fn run(inner: &Arc<Inner>, about: About, source: Source, sink: Sink) -> io::Result<Connection> {
        let About { role, hash, remote_key, remote_address, offer, hang_up } = about;
        let link = Arc::new(Link {
            remote_key,
            signal: Arc::default(),
            remote_address,
            offer,
            hang_up,
            mux: Mutex::new(Mux {
                connection: replicate::Connection::new(role, hash),
                channels: BTreeMap::new(),
                open: HashMap::new(),
                ended: None,
            }),
            over: Condvar::new(),
        });
        inner.add_link(&link);
        inner.all_open().iter().for_each(|shared| link.attach(shared));
        reader::start(&link, Arc::downgrade(inner), source)?;
        writer::start(&link, Arc::downgrade(inner), sink)?;
        Ok(Connection { link })
    }

    /// Offers a log to the peer, unless it must not have it or is told of none.
    pub(crate) fn attach(&self, shared: &Arc<Shared>) {
        if self.offer == Offer::Open && self.lock().attach(shared, &self.remote_key) {
            self.signal.control();
        }
    }

    /// Ends the connection: its threads notice.
    pub(crate) fn close(&self) {
        self.signal.close();
        (self.hang_up)();
    }

    /// What is read has come to an end: every log is told.
    pub(crate) fn end(&self, why: String) {
        self.close();
        let mut mux = self.lock();
        mux.open.clear();
        let channels = std::mem::take(&mut mux.channels);
        for (channel, shared) in &channels {
            if let Some(peer) = mux.connection.peer(*channel) {
                shared.leave(peer);
            }
        }
        mux.ended.get_or_insert(why);
        drop(mux);
        self.over.notify_all();
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Mux> {
        self.mux.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mux {
    /// Opens a channel for a log that has none, if the peer may have the log.
    pub(crate) fn attach(&mut self, shared: &Arc<Shared>, remote_key: &[u8; 32]) -> bool {
        let may = self.ended.is_none() && shared.allows(remote_key);
        if may && !self.open.contains_key(&shared.id) {
            let channel = self.connection.open(&shared.key);
            self.open.insert(shared.id, channel);
            self.channels.insert(channel, Arc::clone(shared));
        }
        may
    }

    /// Forgets a channel that is gone.
    pub(crate) fn detach(&mut self, channel: ChannelId) -> Option<Arc<Shared>> {
        let shared = self.channels.remove(&channel)?;
        self.open.remove(&shared.id);
        Some(shared)
    }
}

/// The words for how a stream ended.
pub(crate) fn ending(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the peer was silent for too long".into(),
        io::ErrorKind::UnexpectedEof => "the peer closed the connection".into(),
        _ => format!("the connection broke: {error}"),
    }
}
