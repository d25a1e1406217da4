//! # What a pal costs
//!
//! The arithmetic of a price list: what a stretch of time costs, what must be paid ahead, when credit
//! runs out, and whether a receipt is right. Host and pal use the same functions, so they agree to the
//! thousandth.
//!
//! This crate never reads a clock, a counter or a file: times and usage come in as arguments.
//!
//! ```
//! use cloudpal_core::Milli;
//! use cloudpal_meter::cost;
//! use cloudpal_protocol::{price::PriceList, receipt::Metered};
//!
//! # let prices = PriceList { unit: "cpm".into(), since_unix_ms: 0, interval_s: 60, awake: Milli(1000),
//! #     asleep: Milli(5), storage_gib_day: Milli(0), traffic_gib: Milli(0), grace_s: 0, speed: 1 };
//! assert_eq!(cost(&prices, Metered::Awake, 60_000), Milli(1000));
//! assert_eq!(cost(&prices, Metered::Asleep, 24 * 3_600_000), Milli(7200));
//! ```

mod account;
mod check;

pub use account::{Ledger, NextInterval};
pub use check::{Chain, ReceiptError};

use cloudpal_core::Milli;
use cloudpal_protocol::price::PriceList;
use cloudpal_protocol::receipt::Metered;

/// What `real_ms` milliseconds of real time cost, rounded up to a thousandth of a cpm.
pub fn cost(prices: &PriceList, metered: Metered, real_ms: u64) -> Milli {
    let rate = match metered {
        Metered::Awake => prices.awake,
        Metered::Asleep => prices.asleep,
    };
    let interval_ms = u128::from(prices.interval_s.max(1)) * 1000;
    let metered_ms = u128::from(real_ms) * u128::from(prices.speed.max(1));
    Milli(u64::try_from((metered_ms * u128::from(rate.0)).div_ceil(interval_ms)).unwrap_or(u64::MAX))
}

/// Real milliseconds of one metering interval.
pub fn interval_ms(prices: &PriceList) -> u64 {
    (u64::from(prices.interval_s.max(1)) * 1000 / u64::from(prices.speed.max(1))).max(1)
}

/// Real milliseconds that `credit` lasts, `u64::MAX` if the price is zero.
pub fn lasts_ms(prices: &PriceList, metered: Metered, credit: Milli) -> u64 {
    let hour = cost(prices, metered, 3_600_000).0;
    match hour {
        0 => u64::MAX,
        hour => u64::try_from(u128::from(credit.0) * 3_600_000 / u128::from(hour)).unwrap_or(u64::MAX),
    }
}

/// What must be paid ahead: one interval awake, one metered day asleep.
pub fn ahead(prices: &PriceList, metered: Metered) -> Milli {
    match metered {
        Metered::Awake => cost(prices, metered, interval_ms(prices)),
        Metered::Asleep => cost(prices, metered, 86_400_000 / u64::from(prices.speed.max(1))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn prices() -> PriceList {
        PriceList {
            unit: "cpm".into(),
            since_unix_ms: 0,
            interval_s: 60,
            awake: Milli(1000),
            asleep: Milli(5),
            storage_gib_day: Milli(0),
            traffic_gib: Milli(0),
            grace_s: 7 * 86_400,
            speed: 1,
        }
    }

    #[test]
    fn rounds_up_and_never_to_nothing() {
        assert_eq!(cost(&prices(), Metered::Awake, 1), Milli(1));
        assert_eq!(cost(&prices(), Metered::Asleep, 1), Milli(1));
        assert_eq!(cost(&prices(), Metered::Awake, 0), Milli(0));
        assert_eq!(cost(&prices(), Metered::Awake, u64::MAX), Milli(307_445_734_561_825_861));
    }

    #[test]
    fn a_faster_meter_costs_in_proportion() {
        let fast = PriceList { speed: 60, ..prices() };
        assert_eq!(cost(&fast, Metered::Awake, 1000), Milli(1000));
        assert_eq!(interval_ms(&fast), 1000);
        assert_eq!(ahead(&fast, Metered::Asleep), ahead(&prices(), Metered::Asleep));
    }

    #[test]
    fn credit_lasts_as_long_as_it_pays_for() {
        assert_eq!(lasts_ms(&prices(), Metered::Awake, Milli(1000)), 60_000);
        assert_eq!(lasts_ms(&prices(), Metered::Asleep, Milli(7200)), 86_400_000);
        assert_eq!(
            lasts_ms(&PriceList { asleep: Milli(0), ..prices() }, Metered::Asleep, Milli(1)),
            u64::MAX
        );
    }
}
