//! The one form of lock: to one key until a time, afterwards back to its owner (NUT-11).
//!
//! NUT-11 allows several signers, hash locks, signature flags and unknown tags. Each is a way to make
//! a ticket that looks locked to a till and is not, so anything but the form written here is refused.

use cashu::{PublicKey, SecretKey};
use serde::{Deserialize, Serialize};

const MAX_SECRET_BYTES: usize = 1024;

/// To whom a ticket is locked, until when, and who gets it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The data centre's key.
    pub to: PublicKey,
    /// Unix seconds; from then on `refund` may take the ticket back without `to`.
    pub locktime_unix: u64,
    /// The owner's key for taking it back.
    pub refund: PublicKey,
}

/// Why a ticket's secret is not a [`Lock`] of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockFormError {
    /// Not a NUT-10 secret at all.
    #[error("its secret is not a lock")]
    NotALock,
    /// A NUT-10 secret of another kind or with conditions that CloudPal does not use.
    #[error("its lock has a condition that is not accepted: {0}")]
    Condition(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    nonce: String,
    data: String,
    tags: Vec<Vec<String>>,
}

impl Lock {
    /// The ticket secret that says this, made unique by `nonce` (lower-case hex of 32 bytes).
    pub fn secret(&self, nonce: &str) -> String {
        let body = Body {
            nonce: nonce.to_owned(),
            data: self.to.to_hex(),
            tags: vec![
                vec!["locktime".into(), self.locktime_unix.to_string()],
                vec!["refund".into(), self.refund.to_hex()],
                vec!["sigflag".into(), "SIG_INPUTS".into()],
            ],
        };
        serde_json::json!(["P2PK", body]).to_string()
    }

    /// Reads the lock out of a ticket's secret; total, and strict on purpose.
    pub fn read(secret: &str) -> Result<Self, LockFormError> {
        if secret.len() > MAX_SECRET_BYTES {
            return Err(LockFormError::NotALock);
        }
        let (kind, body): (String, Body) =
            serde_json::from_str(secret).map_err(|_| LockFormError::NotALock)?;
        if kind != "P2PK" {
            return Err(LockFormError::Condition(format!("kind {kind:.16}")));
        }
        if body.nonce.len() != 64 || !body.nonce.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(LockFormError::Condition("nonce".into()));
        }
        let (mut locktime, mut refund, mut sigflag) = (None, None, None);
        for tag in &body.tags {
            let [name, value] = tag.as_slice() else {
                return Err(LockFormError::Condition("a tag without exactly one value".into()));
            };
            let slot = match name.as_str() {
                "locktime" => &mut locktime,
                "refund" => &mut refund,
                "sigflag" => &mut sigflag,
                "n_sigs" if value == "1" => continue,
                other => return Err(LockFormError::Condition(format!("tag {other:.16}"))),
            };
            if slot.replace(value.as_str()).is_some() {
                return Err(LockFormError::Condition(format!("tag {name:.16} given twice")));
            }
        }
        if sigflag.is_some_and(|flag| flag != "SIG_INPUTS") {
            return Err(LockFormError::Condition("sigflag".into()));
        }
        let locktime = locktime.ok_or_else(|| LockFormError::Condition("no locktime".into()))?;
        let refund = refund.ok_or_else(|| LockFormError::Condition("no refund key".into()))?;
        Ok(Self {
            to: key(&body.data)?,
            locktime_unix: number(locktime)
                .ok_or_else(|| LockFormError::Condition("locktime is not a number".into()))?,
            refund: key(refund)?,
        })
    }

    /// The owner's refund key: derived from the purse's seed by a label of its own.
    pub fn refund_key(seed: &[u8; 64]) -> Result<SecretKey, LockFormError> {
        crate::blank::labelled_key(seed, "cloudpal purse refund v1", 0)
            .map_err(|_| LockFormError::Condition("no refund key can be derived".into()))
    }
}

// Only one way to write a number and a key: a lock has to read the same here and at the seller.
fn number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|n| n.to_string() == text)
}

fn key(text: &str) -> Result<PublicKey, LockFormError> {
    PublicKey::from_hex(text)
        .ok()
        .filter(|key| key.to_hex() == text)
        .ok_or_else(|| LockFormError::Condition("a key is not compressed lower-case hex".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let key = |n| cashu::SecretKey::from_slice(&[n; 32]).unwrap().public_key();
        Lock { to: key(1), locktime_unix: 2_000_000_000, refund: key(2) }
    }

    #[test]
    fn what_is_written_is_read_back_here_and_by_the_protocol_crate() {
        let secret = lock().secret(&"ab".repeat(32));
        assert_eq!(Lock::read(&secret), Ok(lock()));
        let theirs: cashu::nut10::Secret = cashu::secret::Secret::new(&secret).try_into().unwrap();
        let conditions = cashu::SpendingConditions::try_from(theirs).unwrap();
        assert_eq!(conditions.locktime(), Some(2_000_000_000));
        assert_eq!(conditions.refund_keys(), Some(vec![lock().refund]));
        assert_eq!(conditions.pubkeys(), Some(vec![lock().to]));
    }

    #[test]
    fn loopholes_are_refused() {
        let good = lock().secret(&"ab".repeat(32));
        let other = cashu::SecretKey::from_slice(&[3; 32]).unwrap().public_key().to_hex();
        let bad = [
            good.replace("P2PK", "HTLC"),
            good.replace("SIG_INPUTS", "SIG_ALL"),
            good.replace("[\"locktime\"", &format!("[\"pubkeys\",\"{other}\"],[\"locktime\"")),
            good.replace("[\"locktime\"", "[\"locktime\",\"1\"],[\"locktime\""),
            good.replace("[\"locktime\"", "[\"n_sigs\",\"0\"],[\"locktime\""),
            good.replace("2000000000", "02000000000"),
            good.replace("2000000000", "-1"),
            good.replace("\"nonce\"", "\"nonce\":\"x\",\"nonce\""),
            good.replace("[\"refund\"", "[\"refunds\""),
            good.replace("\"data\":\"0", "\"data\":\"1"),
        ];
        for secret in bad {
            assert_ne!(secret, good);
            assert!(Lock::read(&secret).is_err(), "{secret}");
        }
    }
}
