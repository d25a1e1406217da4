use crate::Secret;
use ed25519_dalek::{Signer, Verifier};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub(crate) [u8; $size]);

        impl $name {
            /// Takes the bytes as they are; whether they mean anything shows when they are used.
            pub const fn from_bytes(bytes: [u8; $size]) -> Self {
                $name(bytes)
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseKeyError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; $size];
                hex::decode_to_slice(text, &mut bytes)
                    .map_err(|_| ParseKeyError { what: stringify!($name), digits: 2 * $size })?;
                Ok($name(bytes))
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseKeyError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(key: $name) -> String {
                key.to_string()
            }
        }
    };
}

hex_bytes!(
    /// An Ed25519 public key (RFC 8032): 32 bytes, written as 64 hex digits.
    PublicKey,
    32
);
hex_bytes!(
    /// An Ed25519 signature (RFC 8032): 64 bytes, written as 128 hex digits.
    Signature,
    64
);
hex_bytes!(
    /// An X25519 public key (RFC 7748): 32 bytes, written as 64 hex digits.
    AgreementKey,
    32
);

/// Text that is not a key or signature.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("this is not a {what}: it takes {digits} hexadecimal digits")]
pub struct ParseKeyError {
    what: &'static str,
    digits: usize,
}

impl PublicKey {
    /// Whether `signature` is this key's over `message`, by the strict rules (no small-order keys).
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(&self.0) else { return false };
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        !key.is_weak() && key.verify(message, &signature).is_ok()
    }
}

/// An Ed25519 signing key.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// From 32 secret bytes.
    pub fn from_secret(secret: &Secret<32>) -> Self {
        SigningKey(ed25519_dalek::SigningKey::from_bytes(secret.expose()))
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey([redacted], public {})", self.public())
    }
}

/// An X25519 secret key, for WireGuard and for the unlock channel.
#[derive(Clone)]
pub struct AgreementSecret(x25519_dalek::StaticSecret);

impl AgreementSecret {
    /// From 32 secret bytes; they are clamped when used, as RFC 7748 says.
    pub fn from_secret(secret: &Secret<32>) -> Self {
        AgreementSecret(x25519_dalek::StaticSecret::from(*secret.expose()))
    }

    /// Its public half.
    pub fn public(&self) -> AgreementKey {
        AgreementKey(x25519_dalek::PublicKey::from(&self.0).to_bytes())
    }

    /// The secret bytes, for the engines that take them.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// What this key and `peer` agree on (X25519). It is no key yet: hash it together with both public halves.
    pub fn agree(&self, peer: &AgreementKey) -> Secret<32> {
        Secret::new(self.0.diffie_hellman(&x25519_dalek::PublicKey::from(peer.0)).to_bytes())
    }
}

impl fmt::Debug for AgreementSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgreementSecret([redacted], public {})", self.public())
    }
}
