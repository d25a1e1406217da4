//! Credit: tickets go out step by step, every receipt is checked.

use super::state::State;
use super::volume::VolumeError;
use cloudpal_core::{Digest, Milli, PalId, PublicKey, Signed, SignedBytes, SigningKey, VerifyError};
use cloudpal_meter::{Chain, ahead};
use cloudpal_protocol::guest::{Account, ToHost};
use cloudpal_protocol::price::PriceList;
use cloudpal_protocol::receipt::{Metered, Receipt};

/// The agreed prices, and whose they are.
pub struct Agreed {
    /// Which pal.
    pub pal: PalId,
    /// The host's key.
    pub host: PublicKey,
    /// Its price list.
    pub prices: PriceList,
    digest: Digest,
}

impl Agreed {
    /// Checks that the price list is the host's.
    pub fn check(pal: PalId, host: PublicKey, list: SignedBytes) -> Result<Self, VerifyError> {
        let signed = Signed::<PriceList>::from(list);
        Ok(Agreed { pal, host, prices: signed.verify(&host)?, digest: signed.digest() })
    }

    /// The most that may be on the way to the host unpaid: it is owed at most one step ahead, and may
    /// lose the answer to one more.
    fn most_on_the_way(&self) -> Milli {
        let step = ahead(&self.prices, Metered::Awake).max(ahead(&self.prices, Metered::Asleep));
        Milli::from_cpm(2 * step.ceil_cpm() + 1)
    }

    /// Answers `Due`: the release is on the disk before the tickets leave.
    pub fn pay(&self, state: &mut State, amount: Milli) -> Result<ToHost, VolumeError> {
        let mut stash = state.stash().clone();
        stash.release(amount.min(self.most_on_the_way()));
        if stash != *state.stash() {
            state.set_stash(stash)?;
        }
        Ok(ToHost::Pay { tickets: state.stash().to_send(), left_cpm: state.stash().held_cpm() })
    }

    /// Takes note of what the host counts as paid.
    pub fn counted(&self, state: &mut State, account: &Account) -> Result<(), VolumeError> {
        let mut stash = state.stash().clone();
        if stash.paid(account.paid) { state.set_stash(stash) } else { Ok(()) }
    }

    /// Checks a receipt: acknowledged or disputed. The last one again is acknowledged again: the host may
    /// not have heard.
    pub fn judge(
        &self,
        state: &mut State,
        sign: &SigningKey,
        receipt: SignedBytes,
    ) -> Result<ToHost, VolumeError> {
        let mut chain = state.chain(self.pal);
        let signed = Signed::<Receipt>::from(receipt);
        let digest = signed.digest();
        if let Err(reason) = self.examine(&mut chain, &signed) {
            return Ok(ToHost::Dispute { receipt: digest, reason });
        }
        if chain != state.chain(self.pal) {
            state.set_chain(&chain)?;
        }
        Ok(ToHost::Ack { receipt: digest, signature: sign.sign(&digest.0) })
    }

    fn examine(&self, chain: &mut Chain, signed: &Signed<Receipt>) -> Result<(), String> {
        let receipt = signed.verify(&self.host).map_err(|error| error.to_string())?;
        let digest = signed.digest();
        if digest == chain.previous && receipt.number + 1 == chain.next {
            return Ok(());
        }
        chain.take(&receipt, digest, &self.prices, self.digest).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudpal_core::Secret;

    fn agreed(key: &SigningKey) -> Agreed {
        let prices = PriceList {
            unit: "cpm".into(),
            since_unix_ms: 0,
            interval_s: 60,
            awake: Milli(1000),
            asleep: Milli(5),
            storage_gib_day: Milli(0),
            traffic_gib: Milli(0),
            grace_s: 60,
            speed: 1,
        };
        let list = Signed::sign(&prices, key).into_bytes();
        Agreed::check(PalId::from_random([1; 16]), key.public(), list).unwrap()
    }

    fn receipt(agreed: &Agreed, chain: &Chain) -> Receipt {
        Receipt {
            pal: agreed.pal,
            number: chain.next,
            previous: chain.previous,
            from_unix_ms: chain.until,
            to_unix_ms: chain.until + 60_000,
            metered: Metered::Awake,
            prices: agreed.digest,
            cost: Milli(1000),
            consumed: chain.consumed + Milli(1000),
            paid: Milli(9000),
        }
    }

    #[test]
    fn a_chain_of_right_receipts_is_taken_and_the_last_one_again() {
        let key = SigningKey::from_secret(&Secret::new([1; 32]));
        let (agreed, mut chain) = (agreed(&key), Chain::new(PalId::from_random([1; 16])));
        for number in 1..=3 {
            let signed = Signed::sign(&receipt(&agreed, &chain), &key);
            for _ in 0..2 {
                agreed.examine(&mut chain, &signed).unwrap();
                assert_eq!(chain.next, number);
            }
        }
        assert_eq!(chain.consumed, Milli(3000));
    }

    #[test]
    fn a_wrong_signature_price_or_sum_changes_nothing() {
        let key = SigningKey::from_secret(&Secret::new([1; 32]));
        let thief = SigningKey::from_secret(&Secret::new([2; 32]));
        let agreed = agreed(&key);
        let mut chain = Chain::new(agreed.pal);
        let good = receipt(&agreed, &chain);
        let wrong = [
            Signed::sign(&good, &thief),
            Signed::sign(&Receipt { cost: Milli(1001), consumed: Milli(1001), ..good.clone() }, &key),
            Signed::sign(&Receipt { consumed: Milli(1001), ..good.clone() }, &key),
            Signed::sign(&Receipt { number: 1, ..good.clone() }, &key),
        ];
        for signed in wrong {
            assert!(agreed.examine(&mut chain, &signed).is_err());
            assert_eq!(chain, Chain::new(agreed.pal));
        }
        agreed.examine(&mut chain, &Signed::sign(&good, &key)).unwrap();
    }

    #[test]
    fn another_hosts_price_list_is_refused() {
        let key = SigningKey::from_secret(&Secret::new([1; 32]));
        let other = SigningKey::from_secret(&Secret::new([2; 32]));
        let list = Signed::sign(&agreed(&key).prices, &key).into_bytes();
        assert!(Agreed::check(PalId::from_random([1; 16]), other.public(), list).is_err());
    }
}
