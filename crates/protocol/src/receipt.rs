//! Receipts: one for each interval, signed by the host, chained to the last, acknowledged by the pal.

use cloudpal_core::{Digest, Milli, PalId};
use serde::{Deserialize, Serialize};

/// What a pal was doing during an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metered {
    /// Its machine was running.
    Awake,
    /// Only its memory image and doorbell were there.
    Asleep,
}

/// What one interval cost. The host signs it (`Signed<Receipt>`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Whose.
    pub pal: PalId,
    /// 0 for the first, then one more each time.
    pub number: u64,
    /// Digest of the receipt before, all zeros for the first.
    pub previous: Digest,
    /// Start of the interval, milliseconds since 1970.
    pub from_unix_ms: u64,
    /// End of the interval, milliseconds since 1970.
    pub to_unix_ms: u64,
    /// Awake or asleep: an interval is cut when that changes.
    pub metered: Metered,
    /// Digest of the price list it was reckoned by.
    pub prices: Digest,
    /// What this interval cost.
    pub cost: Milli,
    /// All receipts up to and with this one.
    pub consumed: Milli,
    /// Tickets accepted so far.
    pub paid: Milli,
}
