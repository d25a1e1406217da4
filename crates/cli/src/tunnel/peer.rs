//! Who is at the other end of a connection on the loopback. Other users of this machine can reach the port
//! too, and the page is not theirs.

use nix::unistd::Uid;
use std::fs;
use std::net::{IpAddr, SocketAddr};

/// Whether this very user, or root, holds the other end. What cannot be told is not.
pub fn is_same_user(theirs: SocketAddr, ours: SocketAddr) -> bool {
    let table = if theirs.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let owner = fs::read_to_string(table).ok().and_then(|table| owner_of(&table, theirs, ours));
    owner.is_some_and(|uid| uid == Uid::effective().as_raw() || uid == 0)
}

// Columns of the kernel's table: number, local, remote, state, queues, timer, retransmits, user id.
fn owner_of(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let (local, remote) = (hex(local), hex(remote));
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let fits = columns.get(1) == Some(&local.as_str()) && columns.get(2) == Some(&remote.as_str());
        fits.then(|| columns.get(7)?.parse().ok())?
    })
}

// Each four bytes of the address as one number in this machine's order.
fn hex(end: SocketAddr) -> String {
    let octets = match end.ip() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    let address: String = words.map(|word| format!("{word:08X}")).collect();
    format!("{address}:{:04X}", end.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_of_this_user_is_known_as_such() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, theirs) = listener.accept().unwrap();
            assert!(is_same_user(theirs, server.local_addr().unwrap()), "{address}");
            assert!(!is_same_user(theirs, theirs), "{address}");
            drop(client);
        }
    }

    #[test]
    fn another_user_is_told_apart() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
            0: 0100007F:D431 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001 0 1 1\n";
        let (theirs, ours) = ("127.0.0.1:54321".parse().unwrap(), "127.0.0.1:8080".parse().unwrap());
        if cfg!(target_endian = "little") {
            assert_eq!(owner_of(table, theirs, ours), Some(1001));
        }
        assert_eq!(owner_of(table, ours, theirs), None);
        assert_eq!(owner_of("", theirs, ours), None);
    }
}
