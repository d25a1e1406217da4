//! A pal's account at its host: what was paid, what was used, and the receipts that say so.

use crate::{ahead, cost, interval_ms, lasts_ms};
use cloudpal_core::{Digest, Milli, PalId};
use cloudpal_protocol::price::PriceList;
use cloudpal_protocol::receipt::{Metered, Receipt};

/// The running account of one pal. The host stores it after every change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Whose.
    pub pal: PalId,
    /// Tickets accepted in all.
    pub paid: Milli,
    /// Used up in all, by receipts.
    pub consumed: Milli,
    /// Number of the next receipt.
    pub next: u64,
    /// Digest of the last receipt.
    pub previous: Digest,
    /// Start of the interval that is running, milliseconds since 1970; none before the first boot.
    pub open_since: Option<u64>,
}

/// Whether the next interval is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextInterval {
    /// There is credit for it.
    Covered,
    /// This much more must be paid first.
    Due(Milli),
}

impl Ledger {
    /// An account with nothing in it.
    pub const fn new(pal: PalId) -> Self {
        Ledger {
            pal,
            paid: Milli::ZERO,
            consumed: Milli::ZERO,
            next: 0,
            previous: Digest([0; 32]),
            open_since: None,
        }
    }

    /// Paid and not used.
    pub fn left(&self) -> Milli {
        self.paid - self.consumed
    }

    /// What the running interval has cost so far is not receipted yet; this is what is left after it.
    pub fn left_at(&self, prices: &PriceList, metered: Metered, now: u64) -> Milli {
        self.left() - self.running_cost(prices, metered, now)
    }

    /// Whether another interval of this kind can begin at `now`.
    pub fn next_interval(&self, prices: &PriceList, metered: Metered, now: u64) -> NextInterval {
        let wanted = ahead(prices, metered) - self.left_at(prices, metered, now);
        if wanted == Milli::ZERO { NextInterval::Covered } else { NextInterval::Due(wanted) }
    }

    /// The receipt for the interval that is running, if it is at least a millisecond long. The caller
    /// signs it, stores it together with this ledger, and calls [`Ledger::receipted`].
    pub fn close(&self, prices: &PriceList, digest: Digest, metered: Metered, now: u64) -> Option<Receipt> {
        let from = self.open_since.filter(|from| *from < now)?;
        // What was not paid for was not delivered either: a pal is put to sleep in time, and what a
        // slow agent gave beyond that is the host's loss, not a debt.
        let cost = cost(prices, metered, now - from).min(self.left());
        Some(Receipt {
            pal: self.pal,
            number: self.next,
            previous: self.previous,
            from_unix_ms: from,
            to_unix_ms: now,
            metered,
            prices: digest,
            cost,
            consumed: self.consumed + cost,
            paid: self.paid,
        })
    }

    /// Takes a signed receipt into the account; the next interval starts where it ended.
    pub fn receipted(&mut self, receipt: &Receipt, digest: Digest) {
        self.consumed = receipt.consumed;
        self.next = receipt.number + 1;
        self.previous = digest;
        self.open_since = Some(receipt.to_unix_ms);
    }

    /// When the running interval ends, milliseconds since 1970.
    pub fn interval_ends(&self, prices: &PriceList) -> Option<u64> {
        self.open_since.map(|from| from + interval_ms(prices))
    }

    /// When credit that the host has ends, milliseconds since 1970.
    pub fn runs_out(&self, prices: &PriceList, metered: Metered, now: u64) -> u64 {
        now.saturating_add(lasts_ms(prices, metered, self.left_at(prices, metered, now)))
    }

    fn running_cost(&self, prices: &PriceList, metered: Metered, now: u64) -> Milli {
        self.open_since.map_or(Milli::ZERO, |from| cost(prices, metered, now.saturating_sub(from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::prices;

    fn ledger(paid: u64) -> Ledger {
        Ledger {
            paid: Milli::from_cpm(paid),
            open_since: Some(0),
            ..Ledger::new(PalId::from_random([1; 16]))
        }
    }

    #[test]
    fn one_interval_awake_is_paid_ahead_and_a_day_asleep() {
        let prices = prices();
        assert_eq!(ledger(1).next_interval(&prices, Metered::Awake, 0), NextInterval::Covered);
        assert_eq!(ledger(1).next_interval(&prices, Metered::Awake, 30_000), NextInterval::Due(Milli(500)));
        assert_eq!(ledger(0).next_interval(&prices, Metered::Asleep, 0), NextInterval::Due(Milli(7200)));
    }

    #[test]
    fn receipts_chain_and_never_charge_more_than_was_paid() {
        let mut ledger = ledger(2);
        let mut previous = Digest::default();
        for (number, now) in [60_000, 120_000, 180_000].into_iter().enumerate() {
            let receipt = ledger.close(&prices(), Digest::default(), Metered::Awake, now).unwrap();
            assert_eq!(receipt.number, number as u64);
            assert_eq!(receipt.previous, previous);
            previous = Digest([number as u8 + 1; 32]);
            ledger.receipted(&receipt, previous);
        }
        assert_eq!(ledger.consumed, Milli::from_cpm(2), "the third minute was not paid for");
        assert_eq!(ledger.close(&prices(), Digest::default(), Metered::Awake, 180_000), None);
    }
}
