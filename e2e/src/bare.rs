//! Bare restore, what a wake costs at the least: the same machine and size, memory in plain RAM, from exec
//! of the hypervisor to the first reply through the tap. The reply is to an ARP request, asked again every
//! two milliseconds: a quiesced guest has no WireGuard.

use crate::inside::{inside, output};
use crate::vault::Vault;
use anyhow::{Context as _, Result, bail};
use cloudpal_machine::measure::Bare;
use cloudpal_machine::{Disk, MachineSpec, Running};
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike as _, bind, recv, send,
    socket,
};
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const TAP: &str = "tap0";

/// A copy of the sleeping pal's machine in plain memory, with a network and disks of its own. Removed
/// when dropped.
pub struct Bench {
    bare: Option<Bare>,
    spec: MachineSpec,
    namespace: String,
    scratch: PathBuf,
    guest: Ipv4Addr,
}

impl Bench {
    /// Copies the sleeping pal. Its memory image is only read; the copy never meets its network.
    pub fn lay(vault: &Vault, scratch: &Path, guest: Ipv4Addr) -> Result<Self> {
        let namespace = format!("cpal-bare-{}", std::process::id());
        let scratch = scratch.join("bare");
        fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
        let spec = MachineSpec {
            name: namespace.clone(),
            run_dir: scratch.join("run"),
            netns: Some(format!("/run/netns/{namespace}").into()),
            disks: vault.spec().disks.iter().map(|disk| copied(disk, &scratch)).collect::<Result<_>>()?,
            ..vault.spec().clone()
        };
        let mut bench = Bench { bare: None, spec, namespace, scratch, guest };
        bench.lay_network()?;
        // The copy wakes once, with nobody there, and is kept as it is then.
        let machine = vault.each_life(|binding| {
            vault.engine().restore(&bench.spec, &vault.memory_image(), vault.key(), binding)
        })?;
        bench.bare = Some(Bare::take(&machine.cont()?)?);
        Ok(bench)
    }

    fn lay_network(&self) -> Result<()> {
        let ip = |line: &str| output(Command::new("ip").args(line.split_whitespace())).map(drop);
        let name = &self.namespace;
        ip(&format!("netns add {name}"))?;
        ip(&format!("-n {name} tuntap add dev {TAP} mode tap user {} vnet_hdr", self.spec.run_as.uid))?;
        ip(&format!("-n {name} link set {TAP} up"))
    }

    /// Milliseconds from exec of the hypervisor to the guest's first reply.
    pub fn restore_ms(&self, vault: &Vault) -> Result<f64> {
        let bare = self.bare.as_ref().context("there is no copy of the machine")?;
        let question = inside(&self.namespace, Question::open)?;
        let (start, paused) = vault.engine().restore_bare(&self.spec, bare)?;
        let running = paused.cont()?;
        let replied = question.first_reply(self.guest, Duration::from_secs(10));
        let took = start.elapsed();
        end(&running)?;
        replied?;
        Ok(took.as_secs_f64() * 1000.0)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = output(Command::new("ip").args(["netns", "del", &self.namespace]));
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

fn end(machine: &Running) -> Result<()> {
    machine.kill().context("the bare machine does not end")
}

fn copied(disk: &Disk, scratch: &Path) -> Result<Disk> {
    let path = scratch.join(&disk.serial);
    output(Command::new("cp").arg("--sparse=always").arg(&disk.path).arg(&path))?;
    Ok(Disk { path, ..disk.clone() })
}

/// A packet socket on the tap.
struct Question {
    socket: OwnedFd,
    mac: [u8; 6],
}

impl Question {
    fn open() -> Result<Self> {
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
                .context("cannot open a packet socket")?;
        let tap = tap_address()?;
        bind(socket.as_raw_fd(), &tap).context("cannot bind to the tap")?;
        Ok(Question { socket, mac: tap.addr().context("the tap has no hardware address")? })
    }

    /// Waits until the guest says that it has its address.
    fn first_reply(&self, guest: Ipv4Addr, patience: Duration) -> Result<()> {
        let frame = self.frame(guest);
        let since = Instant::now();
        while since.elapsed() < patience {
            // Nobody holds the tap until the hypervisor has opened it.
            let _ = send(self.socket.as_raw_fd(), &frame, MsgFlags::MSG_DONTWAIT);
            poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], PollTimeout::from(2u8))?;
            let mut heard = [0; 2048];
            while let Ok(size) = recv(self.socket.as_raw_fd(), &mut heard, MsgFlags::MSG_DONTWAIT) {
                if is_reply(&heard[..size], guest) {
                    return Ok(());
                }
            }
        }
        bail!("the bare machine did not reply in {patience:?}")
    }

    /// Who has the guest's address? (RFC 826), asked by nobody's address as a probe (RFC 5227).
    fn frame(&self, guest: Ipv4Addr) -> Vec<u8> {
        let head: [&[u8]; 3] = [&[0xff; 6], &self.mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]];
        let tail: [&[u8]; 4] = [&self.mac, &[0; 4], &[0; 6], &guest.octets()];
        [head.concat(), tail.concat()].concat()
    }
}

fn is_reply(frame: &[u8], guest: Ipv4Addr) -> bool {
    frame.get(12..14) == Some(&[8, 6])
        && frame.get(20..22) == Some(&[0, 2])
        && frame.get(28..32) == Some(&guest.octets())
}

fn tap_address() -> Result<LinkAddr> {
    let found = getifaddrs().context("cannot list interfaces")?.find_map(|interface| {
        let address = interface.address.filter(|address| address.family() == Some(AddressFamily::Packet))?;
        (interface.interface_name == TAP).then(|| address.as_link_addr().copied()).flatten()
    });
    found.with_context(|| format!("there is no {TAP} in the namespace"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_guests_own_reply_counts() {
        let guest = Ipv4Addr::new(198, 18, 1, 2);
        let mut reply = vec![0; 42];
        reply[12..14].copy_from_slice(&[8, 6]);
        reply[20..22].copy_from_slice(&[0, 2]);
        reply[28..32].copy_from_slice(&guest.octets());
        assert!(is_reply(&reply, guest));
        assert!(!is_reply(&reply, Ipv4Addr::new(198, 18, 1, 3)));
        reply[21] = 1;
        assert!(!is_reply(&reply, guest), "a question is no reply");
        assert!(!is_reply(&reply[..20], guest));
    }
}
