//! Sockets around a [`Tunnel`]: one UDP socket to the pal, one listener on the loopback, and a loop that
//! waits for whatever comes first.

use super::core::{Ends, StreamId, StreamState, Tunnel};
use super::http::{self, Names};
use super::peer::is_same_user;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The page's port at the pal.
const PAGE: u16 = 80;

/// Bytes of one connection that are held on their way, each direction.
const HELD: usize = 64 * 1024;

/// At most this many connections at once; a browser opens six.
const CONNECTIONS: usize = 64;

/// Why the tunnel does not stand.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The port on the loopback.
    #[error("listening on {address} failed; choose another port with --listen, or port 0 for any")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// The way to the pal.
    #[error("no datagram can be sent to {endpoint}; check this machine's network")]
    Endpoint {
        /// Where the pal listens.
        endpoint: SocketAddr,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// Waiting for the sockets.
    #[error("the tunnel's loop failed")]
    Wait(#[source] io::Error),
}

/// What of the pal a tunnel leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Its page, which knows itself by its name.
    Page,
    /// Another port, with bytes as they are.
    Port(u16),
}

/// A tunnel and its sockets.
pub struct Forwarder {
    tunnel: Tunnel,
    names: Names,
    gate: Gate,
    udp: UdpSocket,
    listener: TcpListener,
    connections: Vec<Connection>,
    began: Instant,
}

impl Forwarder {
    /// Binds both sockets; nothing is sent before somebody connects.
    pub fn bind(
        ends: &Ends,
        endpoint: SocketAddr,
        listen: SocketAddr,
        page: String,
        gate: Gate,
        seed: u64,
    ) -> Result<Self, ForwardError> {
        let listening = |source| ForwardError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).map_err(listening)?;
        listener.set_nonblocking(true).map_err(listening)?;
        let port = listener.local_addr().map_err(listening)?.port();
        let any: SocketAddr = match endpoint {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let udp = UdpSocket::bind(any)
            .and_then(|udp| udp.connect(endpoint).map(|()| udp))
            .and_then(|udp| udp.set_nonblocking(true).map(|()| udp))
            .map_err(|source| ForwardError::Endpoint { endpoint, source })?;
        let tunnel = Tunnel::new(ends, seed, Duration::ZERO);
        let names = Names { port, page };
        Ok(Forwarder { tunnel, names, gate, udp, listener, connections: Vec::new(), began: Instant::now() })
    }

    /// Where a browser reaches the page.
    pub fn local_addr(&self) -> Result<SocketAddr, ForwardError> {
        self.listener.local_addr().map_err(ForwardError::Wait)
    }

    /// Carries bytes until `stop` becomes readable.
    pub fn run(&mut self, stop: &impl AsFd) -> Result<(), ForwardError> {
        let mut pause = Duration::ZERO;
        while !self.wait(stop, pause)? {
            self.datagrams_in();
            self.accept();
            // Before the connections, which take what came, and after them, for what they gave.
            self.tunnel.advance(self.began.elapsed());
            for connection in self.connections.iter_mut().filter(|connection| !connection.is_over) {
                connection.carry(&mut self.tunnel, &self.names);
            }
            pause = self.tunnel.advance(self.began.elapsed());
            self.datagrams_out();
            self.forget_closed();
        }
        Ok(())
    }

    // Whether it is time to stop.
    fn wait(&mut self, stop: &impl AsFd, pause: Duration) -> Result<bool, ForwardError> {
        let mut watched = vec![
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.udp.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
        ];
        watched.extend(
            self.connections
                .iter()
                .map(|connection| PollFd::new(connection.socket.as_fd(), connection.wants())),
        );
        // Rounded up, so that what is due in half a millisecond is not waited for in a busy loop.
        let timeout = u16::try_from(pause.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        match poll(&mut watched, PollTimeout::from(timeout)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(ForwardError::Wait(errno.into())),
        }
        let told = |at: usize, flags| watched[at].revents().is_some_and(|events| events.intersects(flags));
        let stopped = told(0, PollFlags::POLLIN);
        let hung: Vec<bool> =
            (3..watched.len()).map(|at| told(at, PollFlags::POLLHUP | PollFlags::POLLERR)).collect();
        for (connection, hung) in self.connections.iter_mut().zip(hung) {
            connection.is_over |= hung;
        }
        Ok(stopped)
    }

    fn datagrams_in(&mut self) {
        let mut buffer = [0; 2048];
        loop {
            match self.udp.recv(&mut buffer) {
                Ok(size) => self.tunnel.datagram_in(&buffer[..size]),
                // A host that says "nobody here" for one datagram may take the next.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(_) => return,
            }
        }
    }

    fn datagrams_out(&mut self) {
        while let Some(datagram) = self.tunnel.datagram_out() {
            // Lost datagrams are WireGuard's and TCP's daily business.
            if let Err(error) = self.udp.send(&datagram) {
                tracing::debug!(%error, "a datagram was not sent");
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((socket, theirs)) = self.listener.accept() {
            let ours = socket.local_addr();
            let welcome = ours.is_ok_and(|ours| is_same_user(theirs, ours));
            if !welcome || self.connections.len() >= CONNECTIONS || socket.set_nonblocking(true).is_err() {
                continue;
            }
            let port = match self.gate {
                Gate::Page => PAGE,
                Gate::Port(port) => port,
            };
            if let Ok(stream) = self.tunnel.open(port) {
                self.connections.push(Connection::new(socket, stream, self.gate));
            }
        }
    }

    fn forget_closed(&mut self) {
        let now = self.began.elapsed();
        let tunnel = &mut self.tunnel;
        self.connections.retain(|connection| {
            if connection.is_over {
                tunnel.forget(connection.stream, now);
            }
            !connection.is_over
        });
    }
}

/// One connection of the browser and its stream in the tunnel.
struct Connection {
    socket: TcpStream,
    stream: StreamId,
    gate: Gate,
    /// The request's head, until it is whole.
    head: Option<Vec<u8>>,
    up: Vec<u8>,
    down: Vec<u8>,
    browser_is_done: bool,
    pal_answered: bool,
    /// What is in `down` is all that will come.
    is_last: bool,
    is_over: bool,
}

impl Connection {
    fn new(socket: TcpStream, stream: StreamId, gate: Gate) -> Self {
        Connection {
            socket,
            stream,
            gate,
            head: (gate == Gate::Page).then(Vec::new),
            up: Vec::new(),
            down: Vec::new(),
            browser_is_done: false,
            pal_answered: false,
            is_last: false,
            is_over: false,
        }
    }

    fn wants(&self) -> PollFlags {
        let mut wants = PollFlags::empty();
        if !self.browser_is_done && self.up.len() < HELD {
            wants |= PollFlags::POLLIN;
        }
        if !self.down.is_empty() {
            wants |= PollFlags::POLLOUT;
        }
        wants
    }

    fn carry(&mut self, tunnel: &mut Tunnel, names: &Names) {
        if self.read_browser(names).is_err() {
            self.is_over = true;
            return;
        }
        if !self.is_last {
            self.exchange(tunnel);
        }
        match self.write_browser() {
            Ok(()) if self.is_last && self.down.is_empty() => self.is_over = true,
            Ok(()) => {}
            Err(_) => self.is_over = true,
        }
    }

    fn exchange(&mut self, tunnel: &mut Tunnel) {
        let written = tunnel.write(self.stream, &self.up);
        self.up.drain(..written);
        if self.browser_is_done && self.up.is_empty() {
            tunnel.finish(self.stream);
        }
        let mut buffer = [0; 16 * 1024];
        while self.down.len() < HELD {
            let size = tunnel.read(self.stream, &mut buffer);
            if size == 0 {
                break;
            }
            self.down.extend_from_slice(&buffer[..size]);
        }
        match tunnel.state(self.stream) {
            StreamState::Opening => {}
            StreamState::Open => {
                self.pal_answered = true;
                self.is_last = tunnel.is_finished(self.stream);
            }
            StreamState::Closed => {
                if !self.pal_answered && self.gate == Gate::Page {
                    let text = "The pal does not answer. See how it is with `cloudpal status`.";
                    self.down = http::page("504 Gateway Timeout", text);
                }
                self.is_last = true;
            }
        }
    }

    fn read_browser(&mut self, names: &Names) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        while !self.browser_is_done && self.up.len() < HELD {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.browser_is_done = true,
                Ok(size) => self.take_request(&buffer[..size], names),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take_request(&mut self, bytes: &[u8], names: &Names) {
        let Some(head) = &mut self.head else { return self.up.extend_from_slice(bytes) };
        head.extend_from_slice(bytes);
        let rewritten = match http::head_length(head) {
            Ok(None) => return,
            Ok(Some(length)) => http::rewrite(&head[..length], names).map(|new| (new, length)),
            Err(refusal) => Err(refusal),
        };
        match rewritten {
            Ok((new, length)) => {
                self.up.extend_from_slice(&new);
                self.up.extend_from_slice(&head[length..]);
                self.head = None;
            }
            Err(refusal) => {
                self.down = refusal.answer();
                (self.is_last, self.browser_is_done) = (true, true);
            }
        }
    }

    fn write_browser(&mut self) -> io::Result<()> {
        while !self.down.is_empty() {
            match self.socket.write(&self.down) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(size) => drop(self.down.drain(..size)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
