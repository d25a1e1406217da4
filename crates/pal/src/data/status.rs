//! How the pal stands, for the page and as JSON.

use super::network::Network;
use super::vault::Vault;
use cloudpal_core::Milli;
use cloudpal_meter::cost;
use cloudpal_protocol::guest::{DataState, WakeReason};
use cloudpal_protocol::inside::{Answer, DataStart, DeviceStatus, NetworkStatus, Question};
use cloudpal_protocol::receipt::Metered;
use serde::Serialize;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

/// A device that was heard within so many seconds is called connected: WireGuard renews a session that
/// is used every two minutes.
const CONNECTED_S: u64 = 180;

/// `GET /api/status`. Amounts in thousandths of a cpm.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The pal's name.
    pub name: String,
    /// Its id.
    pub pal: String,
    /// `locked` or `unlocked`.
    pub data: DataState,
    /// Why it last woke; none since a cold boot.
    pub woke: Option<WakeReason>,
    /// Counts the pal's lives.
    pub generation: u64,
    /// Version of the list of devices.
    pub roster_version: u64,
    /// The pal's own overlay address.
    pub overlay_v4: Ipv4Addr,
    /// The pal's own overlay address.
    pub overlay_v6: Ipv6Addr,
    /// The devices.
    pub devices: Vec<Device>,
    /// Credit.
    pub credit: Credit,
    /// Time of this answer, milliseconds since 1970.
    pub now_unix_ms: u64,
}

/// A device.
#[derive(Clone, Debug, Serialize)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its overlay address.
    pub v4: Ipv4Addr,
    /// Its overlay address.
    pub v6: Ipv6Addr,
    /// Heard within the last three minutes.
    pub connected: bool,
    /// Last handshake, seconds since 1970.
    pub seen_unix_s: Option<u64>,
}

/// Credit and prices.
#[derive(Clone, Debug, Serialize)]
pub struct Credit {
    /// Tickets the pal holds for its host, thousandths.
    pub held_milli: Milli,
    /// Paid to the host in all.
    pub paid_milli: Milli,
    /// Used in all.
    pub used_milli: Milli,
    /// Used since midnight UTC, by the receipts that were checked.
    pub today_milli: Milli,
    /// Paid and not used, and held.
    pub left_milli: Milli,
    /// An hour awake costs.
    pub hour_awake_milli: Milli,
    /// A day asleep costs.
    pub day_asleep_milli: Milli,
    /// When credit runs out, if soon.
    pub runs_out_unix_ms: Option<u64>,
    /// Until when a pal without credit is kept.
    pub kept_until_unix_ms: Option<u64>,
}

/// Asks the other half and puts everything together.
pub async fn gather(start: &DataStart, network: &Network, vault: &Vault) -> Result<Status, String> {
    let status = match network.ask(Question::Status).await {
        Answer::Status(status) => *status,
        Answer::Refused(why) => return Err(why),
        _ => return Err("the pal's network half gave another answer; try again".to_owned()),
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    Ok(put_together(start, status, vault.state(), now_unix_ms))
}

fn put_together(start: &DataStart, status: NetworkStatus, data: DataState, now_unix_ms: u64) -> Status {
    Status {
        name: start.name.clone(),
        pal: start.pal.to_string(),
        data,
        woke: status.woke,
        generation: status.generation,
        roster_version: status.roster_version,
        overlay_v4: start.overlay_v4,
        overlay_v6: start.overlay_v6,
        credit: credit(start, &status),
        devices: status.devices.into_iter().map(|seen| device(seen, now_unix_ms / 1000)).collect(),
        now_unix_ms,
    }
}

fn device(seen: DeviceStatus, now_s: u64) -> Device {
    let DeviceStatus { name, v4, v6, seen_unix_s } = seen;
    let connected = seen_unix_s.is_some_and(|at| now_s.saturating_sub(at) < CONNECTED_S);
    Device { name, v4, v6, connected, seen_unix_s }
}

fn credit(start: &DataStart, status: &NetworkStatus) -> Credit {
    let (account, held) = (status.account, Milli::from_cpm(status.held_cpm));
    Credit {
        held_milli: held,
        paid_milli: account.paid,
        used_milli: account.consumed,
        today_milli: status.today,
        left_milli: held + (account.paid - account.consumed),
        hour_awake_milli: cost(&start.prices, Metered::Awake, 3_600_000),
        day_asleep_milli: cost(&start.prices, Metered::Asleep, 86_400_000),
        runs_out_unix_ms: account.runs_out_unix_ms,
        kept_until_unix_ms: account.kept_until_unix_ms,
    }
}
