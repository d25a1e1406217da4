use super::link::Link;
use super::{Access, Connection, HandshakeError};
use crate::store::Inner;
use cloudpal_log::wire::Role;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How many peers may be greeted at the same time.
const GREETINGS: usize = 32;
/// How many connections a store has at most before it takes no more, and how long it then waits.
const CONNECTIONS: usize = 256;
const FULL: Duration = Duration::from_millis(100);
/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(10);

/// Why a peer cannot be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody answers there.
    #[error("cannot connect to the peer: is it running, and is the address right?")]
    Reach(#[from] io::Error),
    /// It answers, but not as a peer does.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

/// Takes connections until it is dropped. Those that were taken go on.
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn start(inner: &Arc<Inner>, address: impl ToSocketAddrs, access: Access) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let accepting = Accepting {
            listener,
            inner: Arc::downgrade(inner),
            access,
            stop: Arc::clone(&stop),
            greeting: Arc::default(),
        };
        std::thread::Builder::new().name("store-accept".into()).spawn(move || accepting.run())?;
        Ok(Server { address, stop })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

struct Accepting {
    listener: TcpListener,
    inner: Weak<Inner>,
    access: Access,
    stop: Arc<AtomicBool>,
    greeting: Arc<AtomicUsize>,
}

impl Accepting {
    fn run(&self) {
        let nap = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        while !self.stop.load(Ordering::Acquire) {
            let Some(inner) = self.inner.upgrade().filter(|inner| !inner.is_closed()) else { return };
            let connections = inner.links().len();
            drop(inner);
            if connections >= CONNECTIONS {
                std::thread::sleep(FULL);
                continue;
            }
            // A signal may end the wait early; the loop waits again.
            let _waited = poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&nap));
            while let Ok((stream, _)) = self.listener.accept() {
                self.greet(stream);
            }
        }
    }

    /// Greets on a thread of its own, so that a silent peer holds up nobody.
    fn greet(&self, stream: TcpStream) {
        if self.greeting.fetch_add(1, Ordering::AcqRel) >= GREETINGS || stream.set_nonblocking(false).is_err()
        {
            self.greeting.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let (inner, access, greeting) = (self.inner.clone(), self.access.clone(), Arc::clone(&self.greeting));
        let greet = move || {
            if let Some(inner) = inner.upgrade()
                && let Err(error) = Link::start(&inner, stream, Role::Responder, &access)
            {
                tracing::debug!(%error, "a peer was not greeted");
            }
            greeting.fetch_sub(1, Ordering::AcqRel);
        };
        if std::thread::Builder::new().name("store-greet".into()).spawn(greet).is_err() {
            self.greeting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Connects to the first of the addresses that answers.
pub(crate) fn connect(
    inner: &Arc<Inner>,
    address: impl ToSocketAddrs,
    access: &Access,
) -> Result<Connection, ConnectError> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(Link::start(inner, stream, Role::Initiator, access)?),
            Err(error) => last = error,
        }
    }
    Err(last.into())
}
