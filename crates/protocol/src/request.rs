//! How a request to the host is signed: header `cloudpal-signature: 1 KEY UNIX_MS NONCE SIGNATURE`,
//! where the signature is over method, path with query, time, nonce and SHA-256 of the body. The host
//! refuses a time more than [`WINDOW_MS`] away from its own and a nonce it has seen in that window.

use cloudpal_core::{PublicKey, Signature, SigningKey};
use sha2::{Digest, Sha256};

/// Name of the header.
pub const HEADER: &str = "cloudpal-signature";

/// A request is good for this long before and after its time, in milliseconds.
pub const WINDOW_MS: u64 = 120_000;

/// What a request's signature says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Who signed.
    pub key: PublicKey,
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// Makes each request different.
    pub nonce: u64,
}

/// The parts of a request that are signed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`, `POST`, `DELETE`.
    pub method: &'a str,
    /// Path with query.
    pub path: &'a str,
    /// Body, empty if none.
    pub body: &'a [u8],
}

/// Why a request's signature was not accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StampError {
    /// No such header, or not in its form.
    #[error("the request is not signed as CloudPal requests are; use the `cloudpal` program")]
    Malformed,
    /// Its time is too far from the host's.
    #[error("the request's time is {0} s away from the host's; set this machine's clock")]
    Clock(u64),
    /// It does not fit the request.
    #[error("the request's signature does not fit it")]
    Signature,
}

impl Request<'_> {
    fn message(&self, unix_ms: u64, nonce: u64) -> Vec<u8> {
        let body = Sha256::digest(self.body);
        let head = format!("cloudpal request 1\n{}\n{}\n{unix_ms}\n{nonce}\n", self.method, self.path);
        [head.as_bytes(), &body].concat()
    }

    /// The header's value.
    pub fn sign(&self, key: &SigningKey, unix_ms: u64, nonce: u64) -> String {
        let signature = key.sign(&self.message(unix_ms, nonce));
        format!("1 {} {unix_ms} {nonce} {signature}", key.public())
    }

    /// Checks the header's value. Whether the nonce was seen before is for the caller to know.
    pub fn check(&self, header: &str, now_unix_ms: u64) -> Result<Stamp, StampError> {
        let mut parts = header.splitn(5, ' ');
        let mut part = || parts.next().ok_or(StampError::Malformed);
        if part()? != "1" {
            return Err(StampError::Malformed);
        }
        let key: PublicKey = part()?.parse().map_err(|_| StampError::Malformed)?;
        let unix_ms: u64 = part()?.parse().map_err(|_| StampError::Malformed)?;
        let nonce: u64 = part()?.parse().map_err(|_| StampError::Malformed)?;
        let signature: Signature = part()?.parse().map_err(|_| StampError::Malformed)?;
        let away = now_unix_ms.abs_diff(unix_ms);
        if away > WINDOW_MS {
            return Err(StampError::Clock(away / 1000));
        }
        if !key.verifies(&self.message(unix_ms, nonce), &signature) {
            return Err(StampError::Signature);
        }
        Ok(Stamp { key, unix_ms, nonce })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudpal_core::Secret;

    #[test]
    fn any_change_is_refused() {
        let key = SigningKey::from_secret(&Secret::new([3; 32]));
        let request = Request { method: "POST", path: "/v1/pals", body: b"{}" };
        let header = request.sign(&key, 1_000_000, 7);
        let stamp = request.check(&header, 1_000_500).unwrap();
        assert_eq!(stamp, Stamp { key: key.public(), unix_ms: 1_000_000, nonce: 7 });
        for other in [
            Request { method: "GET", ..request },
            Request { path: "/v1/pals/", ..request },
            Request { body: b"{} ", ..request },
        ] {
            assert_eq!(other.check(&header, 1_000_500), Err(StampError::Signature));
        }
        assert_eq!(request.check(&header, 1_000_000 + WINDOW_MS + 1), Err(StampError::Clock(120)));
        for bad in ["", "1", "2 a b c d", "1 zz 1 1 zz", &header.replace(' ', "  ")] {
            assert_eq!(request.check(bad, 1_000_500), Err(StampError::Malformed), "{bad}");
        }
    }
}
