//! # What every CloudPal program agrees on
//!
//! Ids, keys, the seed phrase, the one table of key derivation labels, signed records and credit
//! units. Everything above builds on these; they build on nothing of ours.
//!
//! This crate never opens a file or socket, never reads a clock and never asks for randomness:
//! entropy and time come in as arguments. Secret types print as `[redacted]`, are zeroed when
//! dropped and have no `Serialize`.
//!
//! ```
//! use cloudpal_core::{Label, Secret, SeedPhrase, Signed, SigningKey};
//!
//! // A real caller takes 32 bytes from the operating system's generator.
//! let phrase = SeedPhrase::from_entropy(&Secret::new([7; 32]));
//! assert_eq!(phrase.words().split(' ').count(), 24);
//!
//! let key = SigningKey::from_secret(&phrase.derive(&Label::OwnerSign { pal: "0".repeat(32).parse()? }));
//! let note: Signed<String> = Signed::sign(&"hello".to_owned(), &key);
//! assert_eq!(note.verify(&key.public())?, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod credit;
mod id;
mod key;
mod secret;
mod seed;
mod signed;

pub use credit::{Milli, ParseMilliError};
pub use id::{PalId, ParseIdError};
pub use key::{AgreementKey, AgreementSecret, ParseKeyError, PublicKey, Signature, SigningKey};
pub use secret::Secret;
pub use seed::{Half, Label, PhraseError, SeedPhrase, store_key};
pub use signed::{Digest, Signed, SignedBytes, VerifyError};
