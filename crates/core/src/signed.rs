//! Signed records. The bytes that were signed are kept as they are and checked before they are read,
//! so nothing depends on two programs encoding a record alike.

use crate::{PublicKey, Signature, SigningKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::marker::PhantomData;

/// SHA-256 of a signed record's bytes, by which a later record points at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

/// A signed record whose type the holder does not need to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedBytes {
    /// Who claims to have signed it.
    pub signer: PublicKey,
    /// Postcard encoding of the record.
    pub body: Vec<u8>,
    /// Over `domain || body`; the domain is the record's type name.
    pub signature: Signature,
}

/// A signed record of type `T`. Reading it takes [`Signed::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signed<T> {
    bytes: SignedBytes,
    #[serde(skip)]
    record: PhantomData<T>,
}

/// Why a signed record was not accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum VerifyError {
    /// Signed by somebody else.
    #[error("the record is signed by {found}, not by {expected}")]
    Signer {
        /// Whose signature was wanted.
        expected: PublicKey,
        /// Whose it claims to be.
        found: PublicKey,
    },
    /// The signature does not fit the bytes.
    #[error("the record's signature does not fit; it was changed or damaged on its way")]
    Signature,
    /// The bytes were signed, but are not such a record.
    #[error("the record cannot be read; it may come from a newer version")]
    Record(#[source] postcard::Error),
}

const DOMAIN: &[u8] = b"cloudpal signed record 1\0";

fn message(name: &str, body: &[u8]) -> Vec<u8> {
    [DOMAIN, name.as_bytes(), b"\0", body].concat()
}

/// The last part of the type's name: moving a type to another module keeps its signatures valid.
fn type_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name)
}

impl<T: Serialize + DeserializeOwned> Signed<T> {
    /// Signs a record.
    pub fn sign(record: &T, key: &SigningKey) -> Self {
        let body = postcard::to_stdvec(record).expect("records hold nothing that cannot be encoded");
        let signature = key.sign(&message(type_name::<T>(), &body));
        Signed { bytes: SignedBytes { signer: key.public(), body, signature }, record: PhantomData }
    }

    /// The record, if `signer` signed it.
    pub fn verify(&self, signer: &PublicKey) -> Result<T, VerifyError> {
        if self.bytes.signer != *signer {
            return Err(VerifyError::Signer { expected: *signer, found: self.bytes.signer });
        }
        if !signer.verifies(&message(type_name::<T>(), &self.bytes.body), &self.bytes.signature) {
            return Err(VerifyError::Signature);
        }
        postcard::from_bytes(&self.bytes.body).map_err(VerifyError::Record)
    }
}

impl<T> Signed<T> {
    /// SHA-256 of the signed bytes.
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(&self.bytes.body).into())
    }

    /// Who claims to have signed it.
    pub fn signer(&self) -> PublicKey {
        self.bytes.signer
    }

    /// For storing or passing on without knowing `T`.
    pub fn into_bytes(self) -> SignedBytes {
        self.bytes
    }
}

impl<T> From<SignedBytes> for Signed<T> {
    fn from(bytes: SignedBytes) -> Self {
        Signed { bytes, record: PhantomData }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_secret(&Secret::new([byte; 32]))
    }

    #[test]
    fn a_changed_byte_or_other_signer_is_refused() {
        let signed = Signed::sign(&(1u32, "two".to_owned()), &key(1));
        assert_eq!(signed.verify(&key(1).public()).unwrap(), (1, "two".to_owned()));
        assert!(matches!(signed.verify(&key(2).public()), Err(VerifyError::Signer { .. })));
        let mut bytes = signed.into_bytes();
        bytes.body[0] ^= 1;
        let changed = Signed::<(u32, String)>::from(bytes);
        assert_eq!(changed.verify(&key(1).public()), Err(VerifyError::Signature));
    }

    #[test]
    fn a_record_of_one_type_is_not_taken_for_another() {
        let bytes = Signed::sign(&7u32, &key(1)).into_bytes();
        assert_eq!(Signed::<u64>::from(bytes).verify(&key(1).public()), Err(VerifyError::Signature));
    }
}
