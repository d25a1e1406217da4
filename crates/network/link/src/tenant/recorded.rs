//! Reads back what the firewall noted.

use super::TenantPlan;
use super::firewall::{FirewallError, nft};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What the kernel noted while the pal was awake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Sessions that devices may still believe in.
    pub sessions: Vec<RecordedSession>,
    /// Sender indices of initiations that came; those that the pal answered are the last.
    pub answered: Vec<u32>,
}

/// A session that began less than 190 s ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedSession {
    /// Where the device was.
    pub endpoint: SocketAddr,
    /// The session as the pal numbered it: the receiver index of what the device sends.
    pub receiver: u32,
    /// How long it has left.
    pub left: Duration,
}

/// What passed the tenant's firewall since it was laid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// To the machine, bytes with IP headers.
    pub inward_bytes: u64,
    /// To the machine, packets.
    pub inward_packets: u64,
    /// From the machine, bytes with IP headers.
    pub outward_bytes: u64,
    /// From the machine, packets.
    pub outward_packets: u64,
    /// From the machine with a source that is not the pal's: dropped, packets.
    pub spoofed_packets: u64,
    /// To or from addresses that are not to be reached: dropped, packets.
    pub refused_packets: u64,
    /// To the sleeping pal, not even like WireGuard: dropped, packets.
    pub junk_packets: u64,
    /// To the doorbell, packets.
    pub rung_packets: u64,
}

/// In the tenant's namespace.
pub(super) fn read(plan: &TenantPlan) -> Result<Recorded, FirewallError> {
    let mut recorded = Recorded::default();
    let v6 = plan.public_v6.map(|_| "sessions6");
    for set in ["sessions4"].into_iter().chain(v6) {
        for element in elements(set)? {
            recorded.sessions.push(session(&element).ok_or(FirewallError::Answer("sessions"))?);
        }
    }
    for set in ["seen", "answered"] {
        for element in elements(set)? {
            let index = element["elem"]["val"].as_u64().and_then(little);
            recorded.answered.push(index.ok_or(FirewallError::Answer(set))?);
        }
    }
    Ok(recorded)
}

fn elements(set: &'static str) -> Result<Vec<Value>, FirewallError> {
    let text = nft(&["-j", "list", "set", "inet", "cloudpal", set], "", "list a set")?;
    let mut answer: Value = serde_json::from_str(&text).map_err(|_| FirewallError::Answer(set))?;
    let objects = answer["nftables"].as_array_mut().ok_or(FirewallError::Answer(set))?;
    let found =
        objects.iter_mut().find_map(|object| object.get_mut("set")).ok_or(FirewallError::Answer(set))?;
    match found.get_mut("elem").map(Value::take) {
        None => Ok(Vec::new()),
        Some(Value::Array(elements)) => Ok(elements),
        Some(_) => Err(FirewallError::Answer(set)),
    }
}

fn session(element: &Value) -> Option<RecordedSession> {
    let element = &element["elem"];
    let [address, port, index] = element["val"]["concat"].as_array()?.as_slice() else { return None };
    let address: IpAddr = address.as_str()?.parse().ok()?;
    let port = u16::try_from(port.as_u64()?).ok()?;
    Some(RecordedSession {
        endpoint: SocketAddr::new(address, port),
        receiver: little(index.as_u64()?)?,
        left: Duration::from_secs(element["expires"].as_u64().unwrap_or(0)),
    })
}

/// nft shows the four bytes as a big-endian number; in WireGuard they are a little-endian one.
fn little(shown: u64) -> Option<u32> {
    u32::try_from(shown).ok().map(u32::swap_bytes)
}

/// In the tenant's namespace.
pub(super) fn traffic() -> Result<Traffic, FirewallError> {
    let text = nft(&["-j", "list", "counters", "table", "inet", "cloudpal"], "", "list the counters")?;
    let answer: Value = serde_json::from_str(&text).map_err(|_| FirewallError::Answer("counters"))?;
    let objects = answer["nftables"].as_array().ok_or(FirewallError::Answer("counters"))?;
    let mut traffic = Traffic::default();
    for counter in objects.iter().filter_map(|object| object.get("counter")) {
        let number = |key: &str| counter[key].as_u64().ok_or(FirewallError::Answer("counters"));
        let (packets, bytes) = (number("packets")?, number("bytes")?);
        match counter["name"].as_str() {
            Some("inward") => (traffic.inward_packets, traffic.inward_bytes) = (packets, bytes),
            Some("outward") => (traffic.outward_packets, traffic.outward_bytes) = (packets, bytes),
            Some("spoofed") => traffic.spoofed_packets = packets,
            Some("refused") => traffic.refused_packets = packets,
            Some("junk") => traffic.junk_packets = packets,
            Some("rung") => traffic.rung_packets = packets,
            _ => {}
        }
    }
    Ok(traffic)
}
