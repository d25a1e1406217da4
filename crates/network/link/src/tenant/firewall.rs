//! The tenant's firewall: default drop, the pal's own addresses as the only sources, and sets in
//! which the kernel notes what the doorbell will need to know, while nobody of ours is on the path.

use super::{BELL, TAP, TenantPlan, UP};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::process::{Command, Stdio};

/// A network that the pal may not reach except by WireGuard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Any address of it.
    pub network: IpAddr,
    /// Length of the prefix, bits.
    pub prefix: u8,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// The firewall was not laid or read.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The program did not run.
    #[error("could not run nft; install nftables")]
    Run(#[source] io::Error),
    /// It refused.
    #[error("nft could not {what}: {said}")]
    Refused {
        /// What was asked of it.
        what: &'static str,
        /// Its answer.
        said: String,
    },
    /// Its answer is not in the form we know.
    #[error("nft's answer about {0} cannot be read; this takes nftables 1.0.6 or later")]
    Answer(&'static str),
}

/// A session may ring for this long after it began: WireGuard gives up on it after 180 s.
const SESSION_S: u32 = 190;
/// An answered initiation is remembered this long here; the doorbell takes it over at each sleep.
const ANSWERED_DAYS: u32 = 30;

/// So is one that came while the pal was awake and was not answered. Anybody can send such, so they
/// are noted at a bounded rate, and in a set of their own that leaves the answered ones alone.
const SEEN_DAYS: u32 = 1;

/// Lays the rules, unless these very rules are laid: laying them anew would forget what was recorded.
pub(super) fn lay(plan: &TenantPlan) -> Result<(), FirewallError> {
    let rules = rules(plan);
    let mark = format!("laid_{}", hex(&Sha256::digest(&rules)[..8]));
    if nft(&["list", "chain", "inet", "cloudpal", &mark], "", "look at the rules").is_ok() {
        return Ok(());
    }
    let whole = format!(
        "table inet cloudpal\ndelete table inet cloudpal\ntable inet cloudpal {{\n  chain {mark} {{ }}\n{rules}}}\n"
    );
    nft(&["-f", "-"], &whole, "take the rules").map(drop)
}

/// Runs nft in the namespace of the calling thread.
pub(super) fn nft(arguments: &[&str], input: &str, what: &'static str) -> Result<String, FirewallError> {
    let mut nft = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(FirewallError::Run)?;
    if let Some(mut stdin) = nft.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(FirewallError::Run)?;
    }
    let output = nft.wait_with_output().map_err(FirewallError::Run)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("nothing").to_owned();
    Err(FirewallError::Refused { what, said })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `@th,64,32` is the first four bytes of a WireGuard message: its type and three zeros. `@th,96,32`
/// is its sender's index (of data: its receiver's), `@th,128,32` a response's receiver's index.
fn rules(plan: &TenantPlan) -> String {
    let port = plan.listen_port;
    let (own4, own6) = (plan.public_v4, plan.public_v6);
    // Without an IPv6 address every IPv6 packet is somebody else's.
    let spoofed6 = own6.map_or("meta nfproto ipv6".to_owned(), |own| format!("ip6 saddr != {own}"));
    let to_own = |verdict: &str| {
        let six = own6.map_or(String::new(), |own| format!("ip6 daddr {own} {verdict}\n    "));
        format!("ip daddr {own4} {verdict}\n    {six}")
    };
    let (to_tap, to_bell) = (to_own("goto inward"), to_own("goto ring"));
    let refused = refused(&plan.refused);
    format!(
        r#"
  counter inward {{ }}
  counter outward {{ }}
  counter spoofed {{ }}
  counter refused {{ }}
  counter junk {{ }}
  counter rung {{ }}
  set sessions4 {{ typeof ip daddr . udp dport . @th,96,32; size 4096; flags dynamic,timeout; timeout {SESSION_S}s; }}
  set sessions6 {{ typeof ip6 daddr . udp dport . @th,96,32; size 4096; flags dynamic,timeout; timeout {SESSION_S}s; }}
  set seen {{ typeof @th,96,32; size 16384; flags dynamic,timeout; timeout {SEEN_DAYS}d; }}
  set answered {{ typeof @th,128,32; size 16384; flags dynamic,timeout; timeout {ANSWERED_DAYS}d; }}

  chain input {{
    type filter hook input priority filter; policy drop;
    iifname "{TAP}" icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
  }}
  chain output {{
    type filter hook output priority filter; policy drop;
    oifname "{TAP}" meta l4proto {{ icmp, ipv6-icmp }} accept
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    iifname "{TAP}" oifname "{UP}" goto from_pal
    iifname "{UP}" oifname "{TAP}" goto to_pal
    iifname "{UP}" oifname "{BELL}" goto to_bell
    iifname "{BELL}" oifname "{UP}" udp sport {port} udp length 72 @th,64,32 0x03000000 accept
  }}

  chain from_pal {{
    ip saddr != {own4} counter name spoofed drop
    {spoofed6} counter name spoofed drop
    ip daddr {{ 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/4, 240.0.0.0/4 }} counter name refused drop
    ip6 daddr {{ ::/127, fe80::/10, ff00::/8 }} counter name refused drop
    udp sport {port} goto speaks
    {refused}
    goto outward
  }}
  chain speaks {{
    @th,64,32 0x02000000 udp length 100 update @answered {{ @th,128,32 }}
    @th,64,32 0x02000000 udp length 100 goto began
    @th,64,32 0x01000000 udp length 156 goto began
    goto outward
  }}
  chain began {{
    meta nfproto ipv4 update @sessions4 {{ ip daddr . udp dport . @th,96,32 }}
    meta nfproto ipv6 update @sessions6 {{ ip6 daddr . udp dport . @th,96,32 }}
    goto outward
  }}
  chain outward {{
    counter name outward accept
  }}

  chain to_pal {{
    {to_tap}counter name refused drop
  }}
  chain inward {{
    udp dport {port} @th,64,32 0x01000000 udp length 156 limit rate 20/second burst 200 packets update @seen {{ @th,96,32 }}
    counter name inward accept
  }}

  chain to_bell {{
    {to_bell}counter name refused drop
  }}
  chain ring {{
    ip frag-off & 0x3fff != 0 counter name junk drop
    exthdr frag exists counter name junk drop
    udp dport != {port} counter name junk drop
    meta l4proto != udp counter name junk drop
    udp length < 40 counter name junk drop
    @th,64,32 != {{ 0x01000000, 0x02000000, 0x03000000, 0x04000000 }} counter name junk drop
    counter name rung accept
  }}
"#
    )
}

fn refused(networks: &[Blocked]) -> String {
    let mut rules = String::new();
    for (family, is_this) in [("ip", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("ip6", IpAddr::is_ipv6)] {
        for network in networks.iter().filter(|blocked| is_this(&blocked.network)) {
            rules.push_str(&format!("{family} daddr {network} counter name refused drop\n    "));
        }
    }
    rules
}
