use cloudpal_core::{AgreementKey, PublicKey};
use cloudpal_db::ClientId;
use cloudpal_db::record::Candidate;
use std::fmt;
use std::str::FromStr;

/// A device's wish to be admitted, as a line of text that people send each other. All of it is public; it says nothing of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request(pub(crate) Candidate);

/// Text that is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not a request to join a database, or not all of it: it begins with {PREFIX} and has 200 digits and letters after that"
)]
pub struct ParseRequestError;

const PREFIX: &str = "cpjoin-";
const KEYS: usize = 96;
const CHECK: usize = 4;

impl Request {
    /// The short id that the device will have.
    pub fn client(&self) -> ClientId {
        self.0.writer().client()
    }

    fn bytes(&self) -> [u8; KEYS] {
        let mut bytes = [0; KEYS];
        bytes[..32].copy_from_slice(&self.0.writer);
        bytes[32..64].copy_from_slice(self.0.agreement.as_bytes());
        bytes[64..].copy_from_slice(self.0.signer.as_bytes());
        bytes
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        write!(f, "{PREFIX}{}{}", hex::encode(bytes), hex::encode(check(&bytes)))
    }
}

impl FromStr for Request {
    type Err = ParseRequestError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; KEYS + CHECK];
        let digits = text.trim().strip_prefix(PREFIX).ok_or(ParseRequestError)?;
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| ParseRequestError)?;
        let part = |at: usize| {
            let mut key = [0; 32];
            key.copy_from_slice(&bytes[at..at + 32]);
            key
        };
        let request = Request(Candidate {
            writer: part(0),
            agreement: AgreementKey::from_bytes(part(32)),
            signer: PublicKey::from_bytes(part(64)),
        });
        if check(&request.bytes()) == bytes[KEYS..] { Ok(request) } else { Err(ParseRequestError) }
    }
}

/// So that a letter lost on the way is noticed.
fn check(bytes: &[u8]) -> [u8; CHECK] {
    let hash = cloudpal_log::hash::blake2b(&[b"cloudpal join request", bytes]);
    [hash[0], hash[1], hash[2], hash[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_and_notices_a_wrong_letter() {
        let request = Request(Candidate {
            writer: [1; 32],
            agreement: AgreementKey::from_bytes([2; 32]),
            signer: PublicKey::from_bytes([3; 32]),
        });
        let text = request.to_string();
        assert_eq!(text.parse(), Ok(request));
        assert_eq!(text.replacen("01", "00", 1).parse::<Request>(), Err(ParseRequestError));
        assert_eq!("cpjoin-".parse::<Request>(), Err(ParseRequestError));
    }
}
