//! How a pal, or its owner later on, checks the receipts of a host.

use crate::cost;
use cloudpal_core::{Digest, Milli, PalId};
use cloudpal_protocol::price::PriceList;
use cloudpal_protocol::receipt::Receipt;

/// Receipts checked so far, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Whose.
    pub pal: PalId,
    /// Number of the next receipt.
    pub next: u64,
    /// Digest of the last one.
    pub previous: Digest,
    /// Consumed up to the last one.
    pub consumed: Milli,
    /// End of the last one, milliseconds since 1970.
    pub until: u64,
}

/// What is wrong with a receipt.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReceiptError {
    /// For another pal.
    #[error("receipt {0} is for another pal")]
    Pal(u64),
    /// Not the next one.
    #[error("receipt {found} came where {expected} was expected")]
    Number {
        /// The next number.
        expected: u64,
        /// The number it has.
        found: u64,
    },
    /// Not chained to the last one.
    #[error("receipt {0} is not chained to the one before")]
    Previous(u64),
    /// Overlaps the last one, or ends before it starts.
    #[error("receipt {0} covers time that was charged already, or none")]
    Time(u64),
    /// Reckoned by another price list.
    #[error("receipt {0} is reckoned by another price list than the agreed one")]
    Prices(u64),
    /// More than the list allows.
    #[error("receipt {number} charges {charged}, the price list allows {allowed}")]
    Cost {
        /// Which.
        number: u64,
        /// What it charges.
        charged: Milli,
        /// What it may charge at most.
        allowed: Milli,
    },
    /// Totals do not add up.
    #[error("receipt {0} does not add up with the ones before")]
    Total(u64),
}

impl Chain {
    /// Before the first receipt.
    pub const fn new(pal: PalId) -> Self {
        Chain { pal, next: 0, previous: Digest([0; 32]), consumed: Milli::ZERO, until: 0 }
    }

    /// Checks the next receipt and takes it into the chain. A wrong one changes nothing.
    /// `digest` is the receipt's own, `list` that of the agreed price list.
    pub fn take(
        &mut self,
        receipt: &Receipt,
        digest: Digest,
        prices: &PriceList,
        list: Digest,
    ) -> Result<(), ReceiptError> {
        let number = receipt.number;
        if receipt.pal != self.pal {
            return Err(ReceiptError::Pal(number));
        }
        if number != self.next {
            return Err(ReceiptError::Number { expected: self.next, found: number });
        }
        if receipt.previous != self.previous {
            return Err(ReceiptError::Previous(number));
        }
        if receipt.from_unix_ms < self.until || receipt.to_unix_ms <= receipt.from_unix_ms {
            return Err(ReceiptError::Time(number));
        }
        if receipt.prices != list {
            return Err(ReceiptError::Prices(number));
        }
        let allowed = cost(prices, receipt.metered, receipt.to_unix_ms - receipt.from_unix_ms);
        if receipt.cost > allowed {
            return Err(ReceiptError::Cost { number, charged: receipt.cost, allowed });
        }
        if receipt.consumed != self.consumed + receipt.cost || receipt.consumed > receipt.paid {
            return Err(ReceiptError::Total(number));
        }
        self.next += 1;
        self.previous = digest;
        self.consumed = receipt.consumed;
        self.until = receipt.to_unix_ms;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ledger;
    use crate::tests::prices;
    use cloudpal_protocol::receipt::Metered;

    const LIST: Digest = Digest([9; 32]);

    fn first() -> Receipt {
        let pal = PalId::from_random([1; 16]);
        let ledger = Ledger { paid: Milli::from_cpm(10), open_since: Some(1000), ..Ledger::new(pal) };
        ledger.close(&prices(), LIST, Metered::Awake, 61_000).unwrap()
    }

    #[test]
    fn takes_a_right_receipt_once() {
        let receipt = first();
        let mut chain = Chain::new(receipt.pal);
        chain.take(&receipt, Digest([1; 32]), &prices(), LIST).unwrap();
        assert_eq!(chain.consumed, Milli(1000));
        assert!(matches!(
            chain.take(&receipt, Digest([1; 32]), &prices(), LIST),
            Err(ReceiptError::Number { expected: 1, found: 0 })
        ));
    }

    #[test]
    fn names_what_is_wrong() {
        let good = first();
        let other = PalId::from_random([2; 16]);
        let wrong = [
            (Receipt { pal: other, ..good.clone() }, ReceiptError::Pal(0)),
            (Receipt { previous: LIST, ..good.clone() }, ReceiptError::Previous(0)),
            (Receipt { to_unix_ms: 1000, ..good.clone() }, ReceiptError::Time(0)),
            (Receipt { prices: Digest::default(), ..good.clone() }, ReceiptError::Prices(0)),
            (
                Receipt { cost: Milli(1001), consumed: Milli(1001), ..good.clone() },
                ReceiptError::Cost { number: 0, charged: Milli(1001), allowed: Milli(1000) },
            ),
            (Receipt { consumed: Milli(2000), ..good.clone() }, ReceiptError::Total(0)),
        ];
        for (receipt, error) in wrong {
            let mut chain = Chain::new(good.pal);
            assert_eq!(chain.take(&receipt, LIST, &prices(), LIST), Err(error));
            assert_eq!(chain, Chain::new(good.pal), "a wrong receipt changes nothing");
        }
    }
}
