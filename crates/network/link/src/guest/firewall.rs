use super::{NetlinkError, UPLINK, WG};
use crate::route::set;
use std::io::{self, Write};
use std::process::{Command, Stdio};

const NFT: &str = "/sbin/nft";

/// The rules were not laid.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The program did not run.
    #[error("could not run {NFT}")]
    Run(#[source] io::Error),
    /// It did not take the rules.
    #[error("{NFT} did not take the rules: {0}")]
    Refused(String),
    /// Forwarding could not be switched on.
    #[error("could not switch forwarding on")]
    Forwarding(#[source] NetlinkError),
}

/// Lays down what may pass, once at boot, before forwarding is switched on:
///
/// - from the uplink to the pal itself only WireGuard, what belongs to the pal's own questions, and pings
///   (and IPv6 neighbour discovery);
/// - a device reaches other devices and the internet, masked by the pal's public address; from the
///   internet nothing passes but answers.
pub fn lay_rules(listen_port: u16) -> Result<(), FirewallError> {
    let mut nft = Command::new(NFT)
        .args(["-f", "-"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(FirewallError::Run)?;
    let mut input = nft.stdin.take().ok_or_else(|| FirewallError::Run(io::ErrorKind::BrokenPipe.into()))?;
    input.write_all(rules(listen_port).as_bytes()).map_err(FirewallError::Run)?;
    drop(input);
    let output = nft.wait_with_output().map_err(FirewallError::Run)?;
    if !output.status.success() {
        return Err(FirewallError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    for setting in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        set(setting, "1").map_err(FirewallError::Forwarding)?;
    }
    Ok(())
}

fn rules(listen_port: u16) -> String {
    format!(
        r#"
table inet cloudpal
delete table inet cloudpal
table inet cloudpal {{
    chain input {{
        type filter hook input priority filter; policy drop;
        iifname {{ "lo", "{WG}" }} accept
        udp dport {listen_port} accept
        ct state established,related accept
        icmp type echo-request accept
        icmpv6 type {{ echo-request, nd-neighbor-solicit, nd-neighbor-advert }} accept
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        iifname "{WG}" accept
        iifname "{UPLINK}" oifname "{WG}" ct state established,related accept
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        iifname "{WG}" oifname "{UPLINK}" masquerade
    }}
    chain prerouting {{
        type filter hook prerouting priority raw; policy accept;
        iifname "{UPLINK}" udp dport {listen_port} notrack
    }}
    chain output {{
        type filter hook output priority raw; policy accept;
        oifname "{UPLINK}" udp sport {listen_port} notrack
    }}
    chain mss {{
        type filter hook forward priority mangle; policy accept;
        tcp flags syn tcp option maxseg size set rt mtu
    }}
}}
"#
    )
}
