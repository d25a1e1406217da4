//! The network for trying out, in namespaces of its own:
//!
//! ```text
//!  client namespace          data centre's namespace              net namespace
//!  (a person's network) ---- (forwards; pals hang on it) ---- (stands for the internet)
//!    198.19.N.10   .9          |           |         .5          198.19.N.6
//!                          .2  |           '-- one veth per tenant, made by cloudpal-host:
//!                              |               198.18.N.0/24, fdcc:...:1::/64
//!                          .1  |
//!                    this machine itself, with a route to 198.18.N.0/24
//! ```
//!
//! 198.18.0.0/15 is set aside for tests between networks (RFC 2544), so nothing real is hidden.

use crate::run::{command, output, output_of};
use crate::state::{Memory, State};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::net::{IpAddr, UdpSocket};

/// The port that pals listen on, the same inside and outside.
pub const PAL_PORT: u16 = 51820;

/// Names and addresses of one state folder's network.
pub struct Net {
    tag: String,
    subnet: u8,
    v6: bool,
}

/// A link from the data centre's namespace to one of the three others.
struct Link {
    /// Name of the interface at the data centre's end.
    near: &'static str,
    /// Last byte of the address at the data centre's end; the far end has one more or less.
    near_host: u8,
    far_host: u8,
    v6: &'static str,
}

const MACHINE: Link = Link { near: "machine", near_host: 2, far_host: 1, v6: "a" };
const INTERNET: Link = Link { near: "internet", near_host: 5, far_host: 6, v6: "b" };
const CLIENT: Link = Link { near: "client", near_host: 9, far_host: 10, v6: "c" };

impl Net {
    pub fn new(state: &State, memory: &Memory) -> Self {
        let disabled = fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6");
        Net { tag: state.tag(), subnet: memory.subnet, v6: disabled.is_ok_and(|text| text.trim() == "0") }
    }

    pub fn data_centre(&self) -> String {
        format!("cpal-{}-dc", self.tag)
    }

    pub fn internet(&self) -> String {
        format!("cpal-{}-net", self.tag)
    }

    pub fn client(&self) -> String {
        format!("cpal-{}-client", self.tag)
    }

    /// The interface on this machine that leads to the data centre.
    fn veth(&self) -> String {
        format!("cpal-{}", self.tag)
    }

    fn table(&self) -> String {
        format!("cpal_{}", self.tag)
    }

    /// Pals' public IPv4 addresses.
    pub fn public_v4(&self) -> String {
        format!("198.18.{}.0/24", self.subnet)
    }

    /// Pals' public IPv6 addresses, where this machine speaks IPv6.
    pub fn public_v6(&self) -> Option<String> {
        self.v6.then(|| format!("{}:1::/64", self.prefix_v6()))
    }

    fn prefix_v6(&self) -> String {
        let (high, low) = self.tag.split_at(2);
        format!("fdcc:{high}:{low}")
    }

    fn far_v4(&self, link: &Link) -> String {
        format!("198.19.{}.{}", self.subnet, link.far_host)
    }

    fn near_v4(&self, link: &Link) -> String {
        format!("198.19.{}.{}", self.subnet, link.near_host)
    }

    fn end_v6(&self, link: &Link, host: u8) -> String {
        format!("{}:{}::{host}", self.prefix_v6(), link.v6)
    }

    /// Makes namespaces, links and routes. What an interrupted run left of them is removed first.
    pub fn build(&self) -> Result<()> {
        self.remove()?;
        let dc = self.data_centre();
        for name in [&dc, &self.internet(), &self.client()] {
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        forward_inside(&dc)?;
        self.join(&INTERNET, &self.internet(), "eth0")?;
        self.join(&CLIENT, &self.client(), "eth0")?;
        self.join_machine()
    }

    fn join(&self, link: &Link, far: &str, far_name: &str) -> Result<()> {
        let dc = self.data_centre();
        let near = link.near;
        ip(&format!("-n {dc} link add {near} type veth peer name {far_name} netns {far}"))?;
        self.address(&format!("-n {dc}"), near, link, link.near_host)?;
        self.address(&format!("-n {far}"), far_name, link, link.far_host)?;
        ip(&format!("-n {far} route add default via {}", self.near_v4(link)))?;
        if self.v6 {
            ip(&format!("-n {far} -6 route add default via {}", self.end_v6(link, link.near_host)))?;
        }
        Ok(())
    }

    /// This machine gets a route to the pals and nothing else.
    fn join_machine(&self) -> Result<()> {
        let (dc, veth) = (self.data_centre(), self.veth());
        ip(&format!("link add {veth} type veth peer name {} netns {dc}", MACHINE.near))?;
        self.address(&format!("-n {dc}"), MACHINE.near, &MACHINE, MACHINE.near_host)?;
        self.address("", &veth, &MACHINE, MACHINE.far_host)?;
        ip(&format!("route add {} via {} dev {veth}", self.public_v4(), self.near_v4(&MACHINE)))?;
        if let Some(range) = self.public_v6() {
            ip(&format!("-6 route add {range} via {} dev {veth}", self.end_v6(&MACHINE, MACHINE.near_host)))?;
        }
        Ok(())
    }

    fn address(&self, namespace: &str, name: &str, link: &Link, host: u8) -> Result<()> {
        ip(&format!("{namespace} addr add 198.19.{}.{host}/30 dev {name}", self.subnet))?;
        if self.v6 {
            ip(&format!("{namespace} -6 addr add {}/64 dev {name} nodad", self.end_v6(link, host)))?;
        }
        ip(&format!("{namespace} link set {name} up"))
    }

    /// Lets a phone reach the pal at `address` of this machine, and the pal reach out through it.
    pub fn open_to_outside(&self, address: IpAddr, pal: IpAddr) -> Result<()> {
        let (table, veth, range) = (self.table(), self.veth(), self.public_v4());
        let rules = format!(
            "table ip {table} {{
                chain in {{
                    type nat hook prerouting priority -100
                    ip daddr {address} udp dport {PAL_PORT} dnat to {pal}:{PAL_PORT}
                }}
                chain out {{
                    type nat hook postrouting priority 100
                    oifname != \"{veth}\" ip saddr {pal} udp sport {PAL_PORT} snat to {address}:{PAL_PORT}
                    oifname != \"{veth}\" ip saddr {range} masquerade
                }}
            }}"
        );
        output_of(command("nft -f -"), &rules).context("cannot add the rules for --listen")?;
        ip(&format!("-n {} route add default via {}", self.data_centre(), self.far_v4(&MACHINE)))?;
        fs::write(FORWARD, "1").with_context(|| format!("cannot set {FORWARD}"))
    }

    /// Takes back what [`Net::open_to_outside`] did.
    pub fn close_to_outside(&self, forwarded_before: &str) -> Result<()> {
        fs::write(FORWARD, forwarded_before).with_context(|| format!("cannot set {FORWARD} back"))?;
        let _ = output(command(&format!("nft delete table ip {}", self.table())));
        Ok(())
    }

    /// Removes everything of this network that is there. Processes in it must have ended.
    pub fn remove(&self) -> Result<()> {
        for name in [self.client(), self.internet(), self.data_centre()] {
            if exists(&name) {
                ip(&format!("netns del {name}"))?;
            }
        }
        // A veth goes a moment after the namespace of its other end, unless it is told to.
        let _ = ip(&format!("link del {}", self.veth()));
        Ok(())
    }

    /// For `up.json`: enough to drive the system with a client of one's own.
    pub fn describe(&self) -> Value {
        let end = |name: String, link: &Link| {
            let mut end = json!({
                "name": name,
                "interface": "eth0",
                "v4": self.far_v4(link),
                "gateway_v4": self.near_v4(link),
            });
            if self.v6 {
                end["v6"] = self.end_v6(link, link.far_host).into();
                end["gateway_v6"] = self.end_v6(link, link.near_host).into();
            }
            end
        };
        json!({
            "client": end(self.client(), &CLIENT),
            "internet": end(self.internet(), &INTERNET),
            "data_centre": { "name": self.data_centre(), "public_v4": self.public_v4(), "public_v6": self.public_v6() },
            "machine": { "interface": self.veth(), "v4": self.far_v4(&MACHINE), "gateway_v4": self.near_v4(&MACHINE) },
            "attach": format!(
                "run a client as `ip netns exec {} PROGRAM`, or anywhere on this machine, which has a route to the pals; \
                 for a network of your own, join a veth to {} and route {} through it",
                self.client(), self.data_centre(), self.public_v4()
            ),
        })
    }
}

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// This machine's own forwarding setting.
pub fn forwarding() -> Result<String> {
    let setting = fs::read_to_string(FORWARD).with_context(|| format!("cannot read {FORWARD}"))?;
    Ok(setting.trim().to_owned())
}

/// A number for the addresses that nothing on this machine uses yet, `wish` if it can be had.
pub fn free_subnet(wish: u8) -> Result<u8> {
    let routes = output(command("ip -4 route show table all"))?;
    let used = |n: &u8| routes.contains(&format!("198.18.{n}.")) || routes.contains(&format!("198.19.{n}."));
    (0..=255)
        .map(|step| wish.wrapping_add(step))
        .find(|n| !used(n))
        .context("every network of 198.18.0.0/15 is in use on this machine; stop one with `cargo xtask down`")
}

/// Refuses an address that is not this machine's, and a port that is taken.
pub fn check_listen(address: IpAddr) -> Result<()> {
    if !address.is_ipv4() {
        bail!("--listen takes an IPv4 address of this machine");
    }
    UdpSocket::bind((address, PAL_PORT)).map(drop).with_context(|| {
        format!("cannot listen on {address}, UDP port {PAL_PORT}; `ip address` shows this machine's addresses, `ss -ulpn` who has the port")
    })
}

/// Whether there is a namespace of that name.
pub fn exists(namespace: &str) -> bool {
    fs::exists(format!("/run/netns/{namespace}")).unwrap_or(false)
}

/// Processes in a namespace.
pub fn inhabitants(namespace: &str) -> Vec<u32> {
    let listed = output(command(&format!("ip netns pids {namespace}"))).unwrap_or_default();
    listed.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Forwarding belongs to the namespace; this machine's own setting is another.
fn forward_inside(namespace: &str) -> Result<()> {
    let script = "echo 1 >/proc/sys/net/ipv4/ip_forward; \
                  [ ! -d /proc/sys/net/ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/all/forwarding";
    output(command(&format!("ip netns exec {namespace} sh -c")).arg(script)).map(drop)
}

/// `ip` with these arguments.
pub fn ip(arguments: &str) -> Result<()> {
    output(command(&format!("ip {arguments}"))).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Takes root, as every test that makes a namespace does.
    #[test]
    fn client_and_internet_meet_through_the_data_centre_and_nothing_stays() {
        let dir = format!("/var/tmp/cloudpal-net-test-{}", std::process::id());
        let state = State::locate(Some(Path::new(&dir))).unwrap();
        let memory = Memory { subnet: free_subnet(state.hash() as u8).unwrap(), ..Memory::default() };
        let net = Net::new(&state, &memory);
        let forward = || fs::read_to_string(FORWARD).unwrap();
        let before = forward();
        net.build().unwrap();
        let ping = |from: &str, to: &str| ip(&format!("netns exec {from} ping -c 1 -W 5 {to}"));
        let met = ping(&net.client(), &net.far_v4(&INTERNET));
        let met6 =
            if net.v6 { ping(&net.client(), &net.end_v6(&INTERNET, INTERNET.far_host)) } else { Ok(()) };
        let machine = output(command(&format!("ping -c 1 -W 5 {}", net.near_v4(&MACHINE))));
        let routed = output(command(&format!("ip route get 198.18.{}.7", memory.subnet))).unwrap();
        // Twice: what an interrupted run left does not stand in the way.
        net.build().unwrap();
        net.remove().unwrap();
        met.unwrap();
        met6.unwrap();
        machine.unwrap();
        assert!(routed.contains(&net.veth()), "{routed}");
        assert_eq!(forward(), before, "this machine's own forwarding is untouched");
        for name in [net.client(), net.internet(), net.data_centre()] {
            assert!(!exists(&name), "{name}");
        }
        assert!(!Path::new("/sys/class/net").join(net.veth()).exists());
        net.remove().unwrap();
    }
}
