//! What a doorbell must not answer: junk, scans, keepalives and replays; and what it must never lose:
//! numbered datagrams.

use crate::numbers::Random;
use anyhow::{Context as _, Result};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Sends `count` datagrams that no device of the pal made. Call it inside a namespace.
pub fn junk(to: SocketAddr, count: u32, random: &mut Random) -> Result<u32> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect(to)?;
    let mut sent = 0;
    for number in 0..count {
        sent += u32::from(send(&socket, &piece_of_junk(number, random))?);
        // A burst that overruns a queue on the way would test the queue, not the doorbell.
        if number % 100 == 99 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(sent)
}

/// Each kind looks a little more like the real thing than the one before.
fn piece_of_junk(number: u32, random: &mut Random) -> Vec<u8> {
    let typed = |kind: u8, size: usize, random: &mut Random| {
        let mut bytes = vec![0; size];
        random.fill(&mut bytes[4..]);
        bytes[0] = kind;
        bytes
    };
    match number % 8 {
        0 => {
            let size = random.below(1400);
            let mut bytes = vec![0; size];
            random.fill(&mut bytes);
            bytes
        }
        // An initiation with a wrong mac1, and cut or padded ones.
        1 => typed(1, 148, random),
        2 => typed(1, 140 + random.below(16), random),
        3 => typed(2, 92, random),
        4 => typed(3, 64, random),
        // A keepalive, and data of no session that there is.
        5 => typed(4, 32, random),
        6 => typed(4, 33 + random.below(1300), random),
        _ => Vec::new(),
    }
}

/// Sends each captured initiation again and again, `count` in all, from ports of its own.
pub fn replay(to: SocketAddr, captured: &[Vec<u8>], count: usize, random: &mut Random) -> Result<usize> {
    let sockets: Vec<_> = (0..4).map(|_| UdpSocket::bind(("0.0.0.0", 0))).collect::<Result<_, _>>()?;
    for socket in &sockets {
        socket.connect(to)?;
    }
    let mut sent = 0;
    for number in 0..count {
        let datagram =
            captured.get(number % captured.len().max(1)).context("nothing was captured to replay")?;
        let socket = &sockets[random.below(sockets.len())];
        sent += usize::from(send(socket, datagram)?);
        if number % 50 == 49 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(sent)
}

/// One datagram; one that the pal's own answer made fail (ICMP) is sent again.
fn send(socket: &UdpSocket, datagram: &[u8]) -> Result<bool> {
    let sent = socket.send(datagram).or_else(|_| socket.send(datagram));
    sent.map(|size| size == datagram.len()).context("cannot send")
}

/// A run of numbered datagrams to the pal's echo service.
#[derive(Clone, Copy, Debug)]
pub struct Numbered {
    /// Tells this run from others.
    pub run: [u8; 8],
    pub count: u64,
    pub per_s: u64,
}

/// Port of the echo service on the overlay.
const ECHO: u16 = 7;

impl Numbered {
    /// Sends them evenly, however long the pal takes to wake. Call it inside a namespace.
    pub fn send(&self, to: IpAddr) -> Result<()> {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.connect((to, ECHO))?;
        let start = Instant::now();
        for number in 0..self.count {
            let due = Duration::from_micros(number * 1_000_000 / self.per_s);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            let datagram = [self.run, number.to_be_bytes()].concat();
            socket.send(&datagram).with_context(|| format!("cannot send datagram {number}"))?;
        }
        Ok(())
    }

    /// As the page's address names it.
    pub fn name(&self) -> String {
        hex::encode(self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudpal_core::AgreementKey;
    use cloudpal_plan::wake::mac1_fits;

    #[test]
    fn no_junk_has_a_right_mac1_and_every_kind_occurs() {
        let seed = 3;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let key = AgreementKey::from_bytes([9; 32]);
        let junk: Vec<_> = (0..800).map(|number| piece_of_junk(number, &mut random)).collect();
        assert!(junk.iter().all(|bytes| !mac1_fits(&key, bytes)));
        for (kind, size) in [(1, 148), (2, 92), (3, 64), (4, 32)] {
            assert!(junk.iter().any(|bytes| bytes.len() == size && bytes[0] == kind), "{kind}");
        }
        assert!(junk.iter().any(|bytes| bytes.len() > 32 && bytes[0] == 4));
    }

    #[test]
    fn numbers_arrive_in_order_and_evenly() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = receiver.local_addr().unwrap();
        let sender = std::thread::spawn(move || {
            let mut random = Random::new(1);
            (junk(to, 300, &mut random).unwrap(), replay(to, &[vec![1; 148]], 60, &mut random).unwrap())
        });
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut bytes = [0; 2000];
        let mut replays = 0;
        let mut all = 0;
        while all < 360 {
            let size = receiver.recv(&mut bytes).unwrap();
            all += 1;
            replays += usize::from(size == 148 && bytes[..148].iter().all(|byte| *byte == 1));
        }
        assert_eq!((sender.join().unwrap(), replays), ((300, 60), 60));
    }
}
