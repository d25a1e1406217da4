//! A host's signed price list.

use cloudpal_core::Milli;
use serde::{Deserialize, Serialize};

/// What a host charges. Signed by the host (`Signed<PriceList>`); a pal checks every receipt against
/// the list it was created under or a later one announced in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceList {
    /// The unit of all prices: `cpm`.
    pub unit: String,
    /// In force since, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// Length of one metering interval, seconds.
    pub interval_s: u32,
    /// One interval awake.
    pub awake: Milli,
    /// One interval asleep.
    pub asleep: Milli,
    /// One GiB kept for a day, beyond what every pal has.
    pub storage_gib_day: Milli,
    /// One GiB sent or received, beyond what every pal has.
    pub traffic_gib: Milli,
    /// A pal without credit is kept asleep this long before it is removed, seconds.
    pub grace_s: u32,
    /// Metered seconds per real second: 1, except in a demonstration that runs its meter faster and
    /// says so.
    pub speed: u32,
}
