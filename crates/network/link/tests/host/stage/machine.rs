//! A stand-in for the micro-VM: opens the tap as a hypervisor does.
#![allow(unsafe_code)]

use cloudpal_link::{Packet, Tenant};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

nix::ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, libc::ifreq);

/// Before every frame on the tap.
const VNET_HEADER: usize = 10;

pub struct Machine {
    tap: Arc<File>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    mac: [u8; 6],
    gateway: [u8; 6],
}

#[derive(Default)]
struct Shared {
    end: AtomicBool,
    paused: AtomicBool,
    resting: AtomicBool,
    heard: Mutex<Vec<Packet>>,
}

impl Machine {
    pub fn start(tenant: &Tenant) -> Machine {
        let name = tenant.tap_name();
        let tap = tenant.namespace().run(|| attach(device(), name)).expect("the tenant's namespace").unwrap();
        let tap = Arc::new(tap);
        let shared = Arc::new(Shared::default());
        let mac = tenant.plan().guest_mac;
        let own = tenant.plan().public_v4.octets();
        let (tap2, shared2) = (tap.clone(), shared.clone());
        let thread = std::thread::spawn(move || live(&tap2, &shared2, mac, own));
        Machine { tap, shared, thread: Some(thread), mac, gateway: tenant.gateway().gateway_mac }
    }

    /// As the hypervisor's `stop`: from when this returns nothing is read.
    pub fn pause(&self) {
        self.shared.paused.store(true, Ordering::SeqCst);
        while !self.shared.resting.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    pub fn resume(&self) {
        self.shared.paused.store(false, Ordering::SeqCst);
    }

    /// Whether frames wait on the tap: a paused machine would lose them.
    pub fn has_waiting(&self) -> bool {
        readable(&self.tap, 0)
    }

    /// The UDP payloads so far.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.shared.heard.lock().unwrap().iter().map(|packet| packet.payload().to_vec()).collect()
    }

    /// Waits until so many datagrams came, or long enough that they will not.
    pub fn wait_for(&self, count: usize) -> Vec<Vec<u8>> {
        let until = Instant::now() + Duration::from_secs(20);
        while self.shared.heard.lock().unwrap().len() < count && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.heard()
    }

    /// Answers the last datagram heard.
    pub fn answer(&self, payload: &[u8]) {
        let packet = self.shared.heard.lock().unwrap().last().expect("something was heard").answer(payload);
        self.send(&packet);
    }

    /// Sends an IP packet to the gateway.
    pub fn send(&self, packet: &[u8]) {
        let kind: [u8; 2] = if packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [8, 0] };
        let frame = [&[0; VNET_HEADER][..], &self.gateway, &self.mac, &kind, packet].concat();
        let sent = (&*self.tap).write(&frame).expect("the tap takes a frame");
        assert_eq!(sent, frame.len());
    }

    /// The last packet heard, whole.
    pub fn last(&self) -> Packet {
        self.shared.heard.lock().unwrap().last().expect("something was heard").clone()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::SeqCst);
        self.thread.take().map(JoinHandle::join);
    }
}

/// Opens the tenant's tap as a hypervisor gets it: the device as root, the tap as `user` without any capability.
pub fn open_as(tenant: &Tenant, user: u32) -> nix::Result<File> {
    let opened = tenant.namespace().run(|| {
        let device = device();
        // SAFETY: takes numbers. The bare system call changes this thread alone, which ends with this closure.
        assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) }, 0);
        attach(device, tenant.tap_name())
    });
    opened.expect("the tenant's namespace")
}

fn device() -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun").unwrap()
}

fn attach(tap: File, name: &str) -> nix::Result<File> {
    // SAFETY: plain data, for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    // SAFETY: the descriptor is open and `request` outlives the call.
    unsafe { set_interface(tap.as_raw_fd(), &request) }?;
    Ok(tap)
}

fn readable(tap: &File, milliseconds: u8) -> bool {
    poll(&mut [PollFd::new(tap.as_fd(), PollFlags::POLLIN)], PollTimeout::from(milliseconds)) == Ok(1)
}

fn live(mut tap: &File, shared: &Shared, mac: [u8; 6], own: [u8; 4]) {
    let mut buffer = [0; 4096];
    while !shared.end.load(Ordering::SeqCst) {
        if shared.paused.load(Ordering::SeqCst) {
            shared.resting.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        shared.resting.store(false, Ordering::SeqCst);
        if !readable(tap, 2) {
            continue;
        }
        let Ok(length) = tap.read(&mut buffer) else { continue };
        let frame = &buffer[VNET_HEADER..length];
        if frame[12..14] == [8, 6] && frame[20..22] == [0, 1] && frame[38..42] == own {
            tap.write_all(&arp_answer(frame, mac)).unwrap();
        } else if let Some(packet) = Packet::parse(&frame[14..]) {
            shared.heard.lock().unwrap().push(packet);
        }
    }
}

fn arp_answer(question: &[u8], mac: [u8; 6]) -> Vec<u8> {
    let mut answer = vec![0; VNET_HEADER];
    answer.extend(&question[6..12]);
    answer.extend(mac);
    answer.extend(&question[12..20]);
    answer.extend([0, 2]);
    answer.extend(mac);
    answer.extend(&question[38..42]);
    answer.extend(&question[22..32]);
    answer
}
