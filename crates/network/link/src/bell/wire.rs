//! Frames put on the tap as if they came out of the network, past route, firewall and queueing.
#![allow(unsafe_code)]

use nix::libc;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

pub(crate) const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// A packet socket on one interface.
pub(crate) struct Wire {
    socket: OwnedFd,
}

/// What a packet socket is told about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hears {
    /// Nothing: for sending only.
    Nothing,
    /// Frames of one type.
    Type(u16),
}

impl Wire {
    /// In the calling thread's namespace. Not bound to an interface, nothing is heard.
    pub(crate) fn open(interface: u32, hears: Hears) -> io::Result<Self> {
        let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: takes numbers, gives a number.
        let fd = unsafe { libc::socket(libc::AF_PACKET, flags, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else owns it.
        let wire = Wire { socket: unsafe { OwnedFd::from_raw_fd(fd) } };
        wire.bypass_queueing()?;
        wire.bind(interface, hears)?;
        Ok(wire)
    }

    fn bypass_queueing(&self) -> io::Result<()> {
        let on: libc::c_int = 1;
        // SAFETY: the pointer and length are those of `on`, which outlives the call.
        let done = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_QDISC_BYPASS,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn bind(&self, interface: u32, hears: Hears) -> io::Result<()> {
        // SAFETY: `sockaddr_ll` is plain data, for which all zeros is a valid value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as libc::c_ushort;
        address.sll_ifindex = i32::try_from(interface).map_err(io::Error::other)?;
        address.sll_protocol = match hears {
            Hears::Nothing => 0,
            Hears::Type(kind) => kind.to_be(),
        };
        // SAFETY: the pointer and length are those of `address`, which outlives the call.
        let done = unsafe {
            libc::bind(
                self.socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sends a frame, trying again until `deadline` while the interface's queue is full.
    pub(crate) fn send(&self, frame: &[u8], deadline: Instant) -> io::Result<()> {
        loop {
            match nix::unistd::write(&self.socket, frame) {
                Ok(_) => return Ok(()),
                Err(nix::Error::ENOBUFS | nix::Error::EAGAIN) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_micros(100));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next frame heard, if one waits.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match nix::unistd::read(&self.socket, buffer) {
            Ok(length) => Ok(Some(&buffer[..length])),
            Err(nix::Error::EAGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl std::os::fd::AsFd for Wire {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// An Ethernet frame around an IP packet.
pub(crate) fn frame(to: [u8; 6], from: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let kind = if packet.first().is_some_and(|byte| byte >> 4 == 6) { IPV6 } else { IPV4 };
    [&to[..], &from, &kind.to_be_bytes(), packet].concat()
}
