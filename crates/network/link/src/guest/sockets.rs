//! Ends TCP connections whose process is gone: what they had not yet delivered waits in kernel memory,
//! readable, until the other end answers.

use crate::netlink::NetlinkError;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use std::io;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;

/// Bit for each TCP state except LISTEN (10).
const NOT_LISTENING: u32 = 0xfff & !(1 << 10);
/// `struct inet_diag_sockid` within `struct inet_diag_msg`, after family, state, timer and retransmits.
const ID: std::ops::Range<usize> = 4..52;

/// Resets every TCP connection of this network namespace, orphans too. Gives how many there were.
pub fn close_tcp() -> Result<usize, NetlinkError> {
    let families = [nix::libc::AF_INET, nix::libc::AF_INET6].into_iter();
    let closed: io::Result<usize> = families.map(|family| close_family(family as u8)).sum();
    closed.map_err(|source| NetlinkError::new("close TCP connections", source))
}

fn close_family(family: u8) -> io::Result<usize> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&request(SOCK_DIAG_BY_FAMILY, DUMP, family, &[0; 48]), 0)?;
    let mut found = Vec::new();
    while collect(&socket.recv_from_full()?.0, &mut found)? {}
    for id in &found {
        socket.send(&request(SOCK_DESTROY, ACK, family, id), 0)?;
        // One that closed by itself in between is as good.
        let _ = collect(&socket.recv_from_full()?.0, &mut Vec::new());
    }
    Ok(found.len())
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(kind: u16, flags: u16, family: u8, id: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(72);
    bytes.extend_from_slice(&72u32.to_le_bytes());
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(&(REQUEST | flags).to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[family, nix::libc::IPPROTO_TCP as u8, 0, 0]);
    bytes.extend_from_slice(&NOT_LISTENING.to_le_bytes());
    bytes.extend_from_slice(id);
    bytes
}

/// Reads one datagram of answers; whether more will come.
fn collect(bytes: &[u8], found: &mut Vec<Vec<u8>>) -> io::Result<bool> {
    let mut rest = bytes;
    while let Some(([l0, l1, l2, l3, k0, k1], _)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
        let body = rest.get(16..length).ok_or(io::ErrorKind::InvalidData)?;
        match u16::from_le_bytes([*k0, *k1]) {
            NLMSG_DONE => return Ok(false),
            NLMSG_ERROR => {
                let code = body.first_chunk().map_or(0, |code| i32::from_le_bytes(*code));
                return if code == 0 { Ok(false) } else { Err(io::Error::from_raw_os_error(-code)) };
            }
            _ => found.extend(body.get(ID).map(<[u8]>::to_vec)),
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn answers_that_are_cut_or_random_are_no_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        println!("seed {state:#x}");
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..state % 90)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state as u8 & 0x4f
                })
                .collect();
            let _ = collect(&bytes, &mut Vec::new());
            state = state.wrapping_add(0x1234_5677);
        }
    }

    #[test]
    fn finds_a_live_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port().to_be_bytes();
        let Ok(mut socket) = Socket::new(NETLINK_SOCK_DIAG) else { return println!("no sock_diag here") };
        socket.bind_auto().unwrap();
        socket.send_to(&request(SOCK_DIAG_BY_FAMILY, DUMP, 2, &[0; 48]), &SocketAddr::new(0, 0), 0).unwrap();
        let mut found = Vec::new();
        while collect(&socket.recv_from_full().unwrap().0, &mut found).unwrap() {}
        assert!(found.iter().any(|id| id[..2] == port || id[2..4] == port), "{} connections", found.len());
    }
}
