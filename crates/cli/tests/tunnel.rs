//! The tunnel against a hub made of the same protocols in the test: a page behind WireGuard and TCP.

// Helpers of tests, too, fail by panicking.
#![allow(clippy::unwrap_used)]

use cloudpal_cli::tunnel::core::{Ends, StreamState, Tunnel};
use cloudpal_cli::tunnel::forward::{Forwarder, Gate};
use cloudpal_core::{AgreementSecret, Secret};
use gotatun::noise::index_table::IndexTable;
use gotatun::noise::rate_limiter::RateLimiter;
use gotatun::noise::{Tunn, TunnResult};
use gotatun::packet::Packet;
use gotatun::tun::MtuWatcher;
use gotatun::x25519;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as NetInstant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const HUB: Ipv4Addr = Ipv4Addr::new(100, 64, 9, 1);
const DEVICE: Ipv4Addr = Ipv4Addr::new(100, 64, 9, 2);

fn key(byte: u8) -> AgreementSecret {
    AgreementSecret::from_secret(&Secret::new([byte; 32]))
}

fn ends() -> Ends {
    Ends { key: key(1), device: DEVICE, pal: key(2).public(), hub: HUB }
}

/// A pal's end: WireGuard, TCP, and a page that answers with what it was asked and `size` bytes.
struct Hub {
    wireguard: Tunn,
    interface: Interface,
    came: VecDeque<Vec<u8>>,
    sockets: SocketSet<'static>,
    served: Vec<(SocketHandle, Vec<u8>, Option<VecDeque<u8>>)>,
    size: usize,
    out: VecDeque<Vec<u8>>,
}

mod wire {
    use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
    use smoltcp::time::Instant;
    use std::collections::VecDeque;

    /// Packets in and out of the hub's TCP.
    pub struct Wire<'a> {
        pub came: &'a mut VecDeque<Vec<u8>>,
        pub goes: VecDeque<Vec<u8>>,
    }
    pub struct Came(Vec<u8>);
    pub struct Goes<'a>(&'a mut VecDeque<Vec<u8>>);

    impl Device for Wire<'_> {
        type RxToken<'b>
            = Came
        where
            Self: 'b;
        type TxToken<'b>
            = Goes<'b>
        where
            Self: 'b;
        fn receive(&mut self, _: Instant) -> Option<(Came, Goes<'_>)> {
            let came = self.came.pop_front()?;
            Some((Came(came), Goes(&mut self.goes)))
        }
        fn transmit(&mut self, _: Instant) -> Option<Goes<'_>> {
            Some(Goes(&mut self.goes))
        }
        fn capabilities(&self) -> DeviceCapabilities {
            let mut capabilities = DeviceCapabilities::default();
            capabilities.medium = Medium::Ip;
            capabilities.max_transmission_unit = 1420;
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
}

impl Hub {
    fn new(size: usize) -> Self {
        let secret = x25519::StaticSecret::from(*key(2).expose());
        let limiter = Arc::new(RateLimiter::new(&x25519::PublicKey::from(&secret), 100));
        let peer = x25519::PublicKey::from(*key(1).public().as_bytes());
        let wireguard = Tunn::new(secret, peer, None, None, IndexTable::from_os_rng(), limiter);
        let mut wire = wire::Wire { came: &mut VecDeque::new(), goes: VecDeque::new() };
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut wire, NetInstant::ZERO);
        interface.update_ip_addrs(|list| list.push(IpCidr::new(IpAddress::Ipv4(HUB), 24)).unwrap());
        let (came, sockets) = (VecDeque::new(), SocketSet::new(Vec::new()));
        let mut hub =
            Hub { wireguard, interface, came, sockets, served: Vec::new(), size, out: VecDeque::new() };
        (0..8).for_each(|_| hub.listen());
        hub
    }

    fn listen(&mut self) {
        let buffer = || tcp::SocketBuffer::new(vec![0; 64 * 1024]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.listen(80).unwrap();
        self.served.push((self.sockets.add(socket), Vec::new(), None));
    }

    fn datagram_in(&mut self, bytes: &[u8]) {
        let Ok(packet) = Packet::copy_from(bytes).try_into_wg() else { return };
        match self.wireguard.handle_incoming_packet(packet) {
            TunnResult::WriteToNetwork(packet) => self.out.push_back(Packet::from(packet).to_vec()),
            TunnResult::WriteToTunnel(inner) if !inner.is_empty() => self.came.push_back(inner.to_vec()),
            _ => {}
        }
    }

    fn advance(&mut self, now: Duration) {
        if let Ok(Some(packet)) = self.wireguard.update_timers() {
            self.out.push_back(Packet::from(packet).to_vec());
        }
        let mut wire = wire::Wire { came: &mut self.came, goes: VecDeque::new() };
        let at = NetInstant::from_micros(now.as_micros() as i64);
        self.interface.poll(at, &mut wire, &mut self.sockets);
        for inner in wire.goes {
            let packet = Packet::copy_from(inner.as_slice());
            let packet = self.wireguard.handle_outgoing_packet(packet, Some(&mut MtuWatcher::new(1420)));
            self.out.extend(packet.map(|packet| Packet::from(packet).to_vec()));
        }
        self.serve();
    }

    fn serve(&mut self) {
        let size = self.size;
        let mut opened = 0;
        for (handle, asked, answer) in &mut self.served {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(*handle);
            let mut buffer = [0; 4096];
            if socket.can_recv() {
                let got = socket.recv_slice(&mut buffer).unwrap();
                asked.extend_from_slice(&buffer[..got]);
            }
            if answer.is_none() && asked.windows(4).any(|four| four == b"\r\n\r\n") {
                opened += 1;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", asked.len() + size);
                let body = (0..size).map(|at| (at % 251) as u8);
                *answer = Some(head.bytes().chain(asked.iter().copied()).chain(body).collect());
            }
            if let Some(bytes) = answer {
                let sent = socket.send_slice(bytes.make_contiguous()).unwrap_or(0);
                bytes.drain(..sent);
                if bytes.is_empty() {
                    socket.close();
                }
            }
        }
        (0..opened).for_each(|_| self.listen());
    }
}

/// Numbers that look random and are the same each time (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

#[test]
fn bytes_arrive_whole_although_datagrams_are_lost_doubled_and_swapped() {
    for seed in 1..=5 {
        let (mut tunnel, mut hub) = (Tunnel::new(&ends(), seed, Duration::ZERO), Hub::new(300_000));
        let mut dice = Dice(seed);
        let stream = tunnel.open(80).unwrap();
        let asked = b"GET /x HTTP/1.1\r\n\r\n";
        let (mut written, mut got, mut lost) = (0, Vec::new(), 0);
        let mut under_way: Vec<(bool, Vec<u8>)> = Vec::new();
        let mut now = Duration::ZERO;
        for _ in 0..2_000_000 {
            // Simulated time for TCP: a millisecond a round.
            now += Duration::from_millis(1);
            tunnel.advance(now);
            hub.advance(now);
            // The handshake's retries count in real seconds: leave it alone.
            let fragile = tunnel.state(stream) != StreamState::Opening;
            let both = std::iter::from_fn(|| tunnel.datagram_out()).map(|bytes| (true, bytes));
            under_way.extend(both.chain(hub.out.drain(..).map(|bytes| (false, bytes))).flat_map(|one| {
                let copies = if fragile { [1, 1, 1, 1, 1, 1, 1, 0, 2][dice.roll(9) as usize] } else { 1 };
                lost += usize::from(copies == 0);
                vec![one; copies]
            }));
            while under_way.len() > if fragile { dice.roll(4) as usize } else { 0 } {
                let next = if fragile { dice.roll(under_way.len().min(3) as u64) as usize } else { 0 };
                match under_way.remove(next) {
                    (true, bytes) => hub.datagram_in(&bytes),
                    (false, bytes) => tunnel.datagram_in(&bytes),
                }
            }
            written += tunnel.write(stream, &asked[written..]);
            let mut buffer = [0; 4096];
            let size = tunnel.read(stream, &mut buffer);
            got.extend_from_slice(&buffer[..size]);
            if size == 0 && tunnel.is_finished(stream) {
                break;
            }
        }
        let body = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let want: Vec<u8> = asked.iter().copied().chain((0..300_000).map(|at| (at % 251) as u8)).collect();
        assert!(
            got[body..] == want,
            "seed {seed}: {} of {} bytes after {now:?}, {:?}",
            got.len() - body,
            want.len(),
            tunnel.state(stream)
        );
        assert!(lost > 20, "seed {seed}: only {lost} datagrams were lost");
    }
}

#[test]
fn garbage_changes_nothing() {
    let mut tunnel = Tunnel::new(&ends(), 1, Duration::ZERO);
    let mut dice = Dice(3);
    for length in (0..300).chain([1500, 2000]) {
        for kind in 0..6 {
            let mut bytes: Vec<u8> = (0..length).map(|_| dice.roll(256) as u8).collect();
            if length >= 4 {
                bytes[..4].copy_from_slice(&[kind, 0, 0, 0]);
            }
            tunnel.datagram_in(&bytes);
        }
    }
    tunnel.advance(Duration::from_millis(1));
    assert!(tunnel.datagram_out().is_none(), "it answered garbage");
}

/// The hub on a UDP port of the loopback, and the forwarder in front of it; both end with the test.
fn serve(size: usize, body: impl FnOnce(SocketAddr)) {
    let stop = AtomicBool::new(false);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let endpoint = udp.local_addr().unwrap();
    let page = "home.ada.internal".to_owned();
    let mut forwarder =
        Forwarder::bind(&ends(), endpoint, "127.0.0.1:0".parse().unwrap(), page, Gate::Page, 7).unwrap();
    let local = forwarder.local_addr().unwrap();
    // Never readable: the thread ends with the process.
    let never = SignalFd::with_flags(&SigSet::empty(), SfdFlags::SFD_NONBLOCK).unwrap();
    std::thread::spawn(move || forwarder.run(&never).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut hub, began, mut buffer) = (Hub::new(size), Instant::now(), [0; 2048]);
            let mut from = None;
            while !stop.load(Ordering::SeqCst) {
                while let Ok((length, sender)) = udp.recv_from(&mut buffer) {
                    from = Some(sender);
                    hub.datagram_in(&buffer[..length]);
                }
                hub.advance(began.elapsed());
                if let Some(to) = from {
                    hub.out.drain(..).for_each(|bytes| drop(udp.send_to(&bytes, to)));
                }
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(local)));
        stop.store(true, Ordering::SeqCst);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
}

fn ask(local: SocketAddr, host: &str) -> Vec<u8> {
    let mut socket = TcpStream::connect(local).unwrap();
    write!(socket, "GET /page HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn a_browser_gets_the_page_under_its_own_name_and_nobody_elses() {
    serve(1_000_000, |local| {
        for _ in 0..2 {
            let answer = ask(local, &local.to_string());
            let text = String::from_utf8_lossy(&answer[..400]);
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
            assert!(text.contains("Host: home.ada.internal\r\nConnection: close\r\n"), "{text}");
            let want: Vec<u8> = (0..1_000_000).map(|at| (at % 251) as u8).collect();
            assert!(answer.ends_with(&want), "{} bytes", answer.len());
        }
        let refused = ask(local, "evil.example");
        assert!(refused.starts_with(b"HTTP/1.1 421 "), "{}", String::from_utf8_lossy(&refused));
    });
}
