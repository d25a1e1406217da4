//! The tunnel itself: what to send for what came in.

use cloudpal_core::{AgreementKey, AgreementSecret};
use gotatun::noise::index_table::IndexTable;
use gotatun::noise::rate_limiter::RateLimiter;
use gotatun::noise::{Tunn, TunnResult};
use gotatun::packet::{Packet, WgKind};
use gotatun::tun::MtuWatcher;
use gotatun::x25519;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration as NetDuration, Instant as NetInstant};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// Fits into a datagram on any path that carries IPv6.
const MTU: u16 = 1280;

/// Bytes under way in each direction of one stream.
const WINDOW: usize = 256 * 1024;

/// A pal that has to boot first takes some seconds.
const PATIENCE: NetDuration = NetDuration::from_secs(60);

/// WireGuard's timers count in steps of this.
const TICK: Duration = Duration::from_millis(250);

/// The ends of a tunnel.
#[derive(Clone, Debug)]
pub struct Ends {
    /// This device's WireGuard key.
    pub key: AgreementSecret,
    /// This device's overlay address.
    pub device: Ipv4Addr,
    /// The pal's WireGuard key.
    pub pal: AgreementKey,
    /// The pal's overlay address.
    pub hub: Ipv4Addr,
}

/// One TCP stream in the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(SocketHandle);

/// How a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// The pal did not answer yet.
    Opening,
    /// Bytes may go both ways, or at least one way still.
    Open,
    /// Over; nothing more comes or goes.
    Closed,
}

/// No stream can be opened now.
#[derive(Debug, thiserror::Error)]
#[error("the tunnel has no free port for another connection; close some")]
pub struct NoPort;

/// A tunnel to one pal.
pub struct Tunnel {
    wireguard: Tunn,
    padding: MtuWatcher,
    interface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    hub: Ipv4Addr,
    next_port: u16,
    /// Datagrams for the pal's endpoint.
    out: VecDeque<Vec<u8>>,
}

impl Tunnel {
    /// A tunnel that has not said anything yet. `seed` picks TCP's first numbers: it must be random.
    pub fn new(ends: &Ends, seed: u64, now: Duration) -> Self {
        let key = x25519::StaticSecret::from(*ends.key.expose());
        let limiter = Arc::new(RateLimiter::new(&x25519::PublicKey::from(&key), 100));
        let peer = x25519::PublicKey::from(*ends.pal.as_bytes());
        let wireguard = Tunn::new(key, peer, None, None, IndexTable::from_os_rng(), limiter);

        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, net(now));
        interface.update_ip_addrs(|addresses| {
            // One address fits: it is the first.
            addresses.push(IpCidr::new(IpAddress::Ipv4(ends.device), 24)).ok();
        });
        Tunnel {
            wireguard,
            padding: MtuWatcher::new(MTU),
            interface,
            wire,
            sockets: SocketSet::new(Vec::new()),
            hub: ends.hub,
            next_port: 49_152 + (seed % 16_000) as u16,
            out: VecDeque::new(),
        }
    }

    /// Takes a datagram that came from the pal's endpoint. Anything may come; what is not the pal's is dropped.
    pub fn datagram_in(&mut self, bytes: &[u8]) {
        let Ok(packet) = Packet::copy_from(bytes).try_into_wg() else { return };
        match self.wireguard.handle_incoming_packet(packet) {
            TunnResult::WriteToNetwork(answer) => {
                self.send(answer);
                // A handshake ended: what waited for it may go.
                let waiting: Vec<WgKind> = self.wireguard.get_queued_packets(&mut self.padding).collect();
                waiting.into_iter().for_each(|packet| self.send(packet));
            }
            TunnResult::WriteToTunnel(inner) if !inner.is_empty() => self.wire.came.push_back(inner.to_vec()),
            TunnResult::WriteToTunnel(_) | TunnResult::Done => {}
            TunnResult::Err(error) => tracing::debug!(?error, "a datagram was not taken"),
        }
    }

    /// The next datagram for the pal's endpoint.
    pub fn datagram_out(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// Does what is due at `now` and gives the time until it wants to be called again.
    pub fn advance(&mut self, now: Duration) -> Duration {
        // An error means that nobody answered for long; the next packet starts a new handshake.
        if let Ok(Some(packet)) = self.wireguard.update_timers() {
            self.send(packet);
        }
        self.interface.poll(net(now), &mut self.wire, &mut self.sockets);
        while let Some(inner) = self.wire.goes.pop_front() {
            let packet = Packet::copy_from(inner.as_slice());
            if let Some(packet) = self.wireguard.handle_outgoing_packet(packet, Some(&mut self.padding)) {
                self.send(packet);
            }
        }
        let wanted = self.interface.poll_delay(net(now), &self.sockets);
        wanted.map_or(TICK, |wanted| TICK.min(Duration::from_micros(wanted.total_micros())))
    }

    /// Starts a stream to a port of the pal.
    pub fn open(&mut self, port: u16) -> Result<StreamId, NoPort> {
        let buffer = || tcp::SocketBuffer::new(vec![0; WINDOW]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_timeout(Some(PATIENCE));
        // The bytes come from another TCP, which has waited for more of them already.
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let own = self.free_port().ok_or(NoPort)?;
        let remote = (IpAddress::Ipv4(self.hub), port);
        socket.connect(self.interface.context(), remote, own).map_err(|_| NoPort)?;
        Ok(StreamId(self.sockets.add(socket)))
    }

    /// How a stream stands.
    pub fn state(&self, stream: StreamId) -> StreamState {
        let socket = self.sockets.get::<tcp::Socket<'_>>(stream.0);
        match socket.state() {
            tcp::State::SynSent | tcp::State::SynReceived | tcp::State::Listen => StreamState::Opening,
            tcp::State::Closed | tcp::State::TimeWait if socket.recv_queue() == 0 => StreamState::Closed,
            _ => StreamState::Open,
        }
    }

    /// Takes as many bytes as there is room for; how many.
    pub fn write(&mut self, stream: StreamId, bytes: &[u8]) -> usize {
        self.sockets.get_mut::<tcp::Socket<'_>>(stream.0).send_slice(bytes).unwrap_or(0)
    }

    /// Gives bytes that came; how many.
    pub fn read(&mut self, stream: StreamId, bytes: &mut [u8]) -> usize {
        self.sockets.get_mut::<tcp::Socket<'_>>(stream.0).recv_slice(bytes).unwrap_or(0)
    }

    /// Whether the pal will send no more bytes than those that can be read now.
    pub fn is_finished(&self, stream: StreamId) -> bool {
        let socket = self.sockets.get::<tcp::Socket<'_>>(stream.0);
        self.state(stream) != StreamState::Opening && !socket.may_recv()
    }

    /// Says that no more bytes will be written.
    pub fn finish(&mut self, stream: StreamId) {
        self.sockets.get_mut::<tcp::Socket<'_>>(stream.0).close();
    }

    /// Breaks a stream off, if it is not closed, and forgets it.
    pub fn forget(&mut self, stream: StreamId, now: Duration) {
        self.sockets.get_mut::<tcp::Socket<'_>>(stream.0).abort();
        // Lets the reset out before the socket goes.
        self.advance(now);
        self.sockets.remove(stream.0);
    }

    fn send(&mut self, packet: WgKind) {
        let bytes: Packet = packet.into();
        self.out.push_back(bytes.to_vec());
    }

    fn free_port(&mut self) -> Option<u16> {
        (0..=u16::MAX - 49_152).find_map(|_| {
            let port = self.next_port;
            self.next_port = if port == u16::MAX { 49_152 } else { port + 1 };
            // Only TCP is built in, so every socket is of this kind.
            let taken = self.sockets.iter().any(|(_, smoltcp::socket::Socket::Tcp(socket))| {
                socket.local_endpoint().is_some_and(|end| end.port == port)
            });
            (!taken).then_some(port)
        })
    }
}

fn net(now: Duration) -> NetInstant {
    NetInstant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

/// IP packets between TCP and WireGuard.
#[derive(Default)]
struct Wire {
    came: VecDeque<Vec<u8>>,
    goes: VecDeque<Vec<u8>>,
}

struct Came(Vec<u8>);

struct Goes<'a>(&'a mut VecDeque<Vec<u8>>);

impl Device for Wire {
    type RxToken<'a> = Came;
    type TxToken<'a> = Goes<'a>;

    fn receive(&mut self, _: NetInstant) -> Option<(Came, Goes<'_>)> {
        let came = self.came.pop_front()?;
        Some((Came(came), Goes(&mut self.goes)))
    }

    fn transmit(&mut self, _: NetInstant) -> Option<Goes<'_>> {
        Some(Goes(&mut self.goes))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = usize::from(MTU);
        capabilities
    }
}

impl RxToken for Came {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

impl TxToken for Goes<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut packet = vec![0; length];
        let done = fill(&mut packet);
        self.0.push_back(packet);
        done
    }
}
