//! How much a token may ask in a time: what runs over is made to wait.

/// Allowance per second, of which one second's worth may be used at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests, and changes within batches.
    pub operations: u64,
    /// Bytes of messages, both ways.
    pub bytes: u64,
}

impl Default for Rate {
    fn default() -> Self {
        Rate { operations: 200_000, bytes: 256 << 20 }
    }
}

/// A token's account: debts are paid off by time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Account {
    /// When everything asked so far is paid off, in microseconds of the caller's clock, for operations and bytes.
    paid_us: [u64; 2],
}

const SECOND_US: u64 = 1_000_000;

impl Account {
    /// Notes what was asked at `now_us` and says for how many microseconds to wait before the next.
    pub fn charge(&mut self, rate: Rate, now_us: u64, operations: u64, bytes: u64) -> u64 {
        let costs = [(operations, rate.operations), (bytes, rate.bytes)];
        for (paid, (amount, per_second)) in self.paid_us.iter_mut().zip(costs) {
            let cost = u128::from(amount) * u128::from(SECOND_US) / u128::from(per_second.max(1));
            *paid = (*paid).max(now_us).saturating_add(u64::try_from(cost).unwrap_or(u64::MAX));
        }
        self.owed(now_us)
    }

    /// For how many microseconds to wait, nothing asked.
    pub fn owed(&self, now_us: u64) -> u64 {
        let latest = self.paid_us[0].max(self.paid_us[1]);
        latest.saturating_sub(now_us).saturating_sub(SECOND_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_at_once_and_then_as_fast_as_allowed() {
        let rate = Rate { operations: 1000, bytes: 1 << 20 };
        let mut account = Account::default();
        assert_eq!(account.charge(rate, 0, 1000, 0), 0);
        assert_eq!(account.charge(rate, 0, 500, 0), SECOND_US / 2);
        assert_eq!(account.owed(SECOND_US / 2), 0);
        assert_eq!(account.charge(rate, SECOND_US / 2, 1000, 0), SECOND_US);
        assert_eq!(account.charge(rate, 10 * SECOND_US, 1000, 0), 0, "quiet times are not saved up");
    }

    #[test]
    fn bytes_count_beside_operations() {
        let rate = Rate { operations: 1000, bytes: 1 << 20 };
        let mut account = Account::default();
        assert_eq!(account.charge(rate, 0, 1, 3 << 20), 2 * SECOND_US);
    }
}
