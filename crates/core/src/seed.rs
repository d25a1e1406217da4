//! The seed phrase and the one table of labels by which every other key is derived from it.

use crate::{PalId, Secret};
use bip39::Mnemonic;
use hkdf::Hkdf;
use sha2::Sha256;
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// 24 English words (BIP39, 256 bits of entropy) from which a person's keys can be made again.
#[derive(Clone)]
pub struct SeedPhrase {
    mnemonic: Mnemonic,
}

/// What a key is for. Each label gives an unrelated key, so that what one party learns of one of
/// them says nothing about another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// Signs what the owner asks of a host for one pal. One per pal, so that two pals cannot be linked.
    OwnerSign {
        /// The pal it is for.
        pal: PalId,
    },
    /// The owner's end of the channel that unlocks one pal.
    OwnerUnlock {
        /// The pal it is for.
        pal: PalId,
    },
    /// Half of the key of a pal's data disk; 64 bytes come from `First` and `Second` together.
    DataDisk {
        /// The pal it is for.
        pal: PalId,
        /// Which half.
        half: Half,
    },
    /// Opens the store of logs on one pal's data disk. The only label that derives from a data disk key and not from
    /// the seed, so that the pal can do it with what it was handed: see [`store_key`].
    Store {
        /// The pal it is for.
        pal: PalId,
    },
    /// Half of the seed of the purse.
    Purse {
        /// Which half.
        half: Half,
    },
}

/// AES-256-XTS and the purse take 64 bytes, derived as two labels of 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Bytes 0 to 31.
    First,
    /// Bytes 32 to 63.
    Second,
}

impl Label {
    fn info(&self) -> String {
        match self {
            Label::OwnerSign { pal } => format!("cloudpal/1/owner-sign/{pal}"),
            Label::OwnerUnlock { pal } => format!("cloudpal/1/owner-unlock/{pal}"),
            Label::DataDisk { pal, half } => format!("cloudpal/1/data-disk/{pal}/{}", half.number()),
            Label::Store { pal } => format!("cloudpal/1/store/{pal}"),
            Label::Purse { half } => format!("cloudpal/1/purse/{}", half.number()),
        }
    }
}

impl Half {
    const fn number(self) -> u8 {
        match self {
            Half::First => 0,
            Half::Second => 1,
        }
    }
}

/// Words that are not a seed phrase. Never holds the words themselves.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PhraseError {
    /// Wrong number of words.
    #[error("a seed phrase has 24 words, this has {0}; type all words in order, separated by spaces")]
    Count(usize),
    /// A word that is not in the list.
    #[error("word {0} is not in the list of seed words; check its spelling on your recovery kit")]
    Unknown(usize),
    /// The checksum does not fit.
    #[error("these are seed words, but not a phrase that belongs together; check their order")]
    Checksum,
}

impl SeedPhrase {
    /// The phrase for 32 bytes of entropy, which must come from the operating system.
    pub fn from_entropy(entropy: &Secret<32>) -> Self {
        let mnemonic =
            Mnemonic::from_entropy(entropy.expose()).expect("32 bytes are always a 24-word phrase");
        SeedPhrase { mnemonic }
    }

    /// Reads 24 words, in any case and with any white space between them.
    pub fn parse(words: &str) -> Result<Self, PhraseError> {
        let words = Zeroizing::new(words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase());
        let count = words.split(' ').filter(|word| !word.is_empty()).count();
        if count != 24 {
            return Err(PhraseError::Count(count));
        }
        Mnemonic::parse_normalized(&words).map(|mnemonic| SeedPhrase { mnemonic }).map_err(
            |error| match error {
                bip39::Error::UnknownWord(index) => PhraseError::Unknown(index + 1),
                _ => PhraseError::Checksum,
            },
        )
    }

    /// The words, separated by single spaces, in a string that is zeroed when dropped.
    pub fn words(&self) -> Zeroizing<String> {
        Zeroizing::new(self.mnemonic.to_string())
    }

    /// The key for one purpose: HKDF-SHA256 (RFC 5869) over the BIP39 seed with an empty passphrase.
    pub fn derive(&self, label: &Label) -> Secret<32> {
        let mut seed = self.mnemonic.to_seed_normalized("");
        let key = expand(&seed, label);
        seed.zeroize();
        key
    }

    /// The 64-byte key of a pal's data disk (AES-256-XTS takes two keys of 32).
    pub fn data_disk_key(&self, pal: PalId) -> Secret<64> {
        self.join(|half| Label::DataDisk { pal, half })
    }

    /// The 64-byte seed of the purse.
    pub fn purse_seed(&self) -> Secret<64> {
        self.join(|half| Label::Purse { half })
    }

    fn join(&self, label: impl Fn(Half) -> Label) -> Secret<64> {
        let mut both = Zeroizing::new([0; 64]);
        both[..32].copy_from_slice(self.derive(&label(Half::First)).expose());
        both[32..].copy_from_slice(self.derive(&label(Half::Second)).expose());
        Secret::new(*both)
    }
}

/// The key of the store of logs on the data disk that `disk` opens: HKDF-SHA256 (RFC 5869) over that key.
pub fn store_key(disk: &Secret<64>, pal: PalId) -> Secret<32> {
    expand(disk.expose(), &Label::Store { pal })
}

fn expand(from: &[u8], label: &Label) -> Secret<32> {
    let mut out = [0; 32];
    Hkdf::<Sha256>::new(Some(b"cloudpal"), from)
        .expand(label.info().as_bytes(), &mut out)
        .expect("32 bytes are within HKDF's limit");
    Secret::new(out)
}

impl fmt::Debug for SeedPhrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeedPhrase([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // First vector of 256 bits in the BIP39 reference list.
    const ZEROS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
        abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art";

    #[test]
    fn agrees_with_the_reference_vector() {
        assert_eq!(*SeedPhrase::from_entropy(&Secret::new([0; 32])).words(), ZEROS);
    }

    #[test]
    fn reads_words_in_any_case_and_spacing() {
        let shouted = ZEROS.to_uppercase().replace(' ', "\n  ");
        let label = Label::Purse { half: Half::First };
        assert_eq!(
            SeedPhrase::parse(&shouted).unwrap().derive(&label),
            SeedPhrase::parse(ZEROS).unwrap().derive(&label)
        );
    }

    #[test]
    fn says_what_is_wrong_with_words() {
        assert_eq!(SeedPhrase::parse("abandon art").unwrap_err(), PhraseError::Count(2));
        assert_eq!(SeedPhrase::parse("").unwrap_err(), PhraseError::Count(0));
        assert_eq!(SeedPhrase::parse(&ZEROS.replace("art", "arrt")).unwrap_err(), PhraseError::Unknown(24));
        assert_eq!(SeedPhrase::parse(&ZEROS.replace("art", "zoo")).unwrap_err(), PhraseError::Checksum);
    }

    #[test]
    fn each_disk_and_each_pal_has_a_store_key_of_its_own() {
        let key = |disk, pal| store_key(&Secret::new([disk; 64]), PalId::from_random([pal; 16]));
        assert_eq!(key(1, 1), key(1, 1));
        assert_ne!(key(1, 1), key(2, 1));
        assert_ne!(key(1, 1), key(1, 2));
    }

    #[test]
    fn every_label_gives_another_key() {
        let phrase = SeedPhrase::parse(ZEROS).unwrap();
        let (one, two) = (PalId::from_random([1; 16]), PalId::from_random([2; 16]));
        let labels = [
            Label::OwnerSign { pal: one },
            Label::OwnerSign { pal: two },
            Label::OwnerUnlock { pal: one },
            Label::DataDisk { pal: one, half: Half::First },
            Label::DataDisk { pal: one, half: Half::Second },
            Label::Store { pal: one },
            Label::Purse { half: Half::First },
        ];
        for (i, a) in labels.iter().enumerate() {
            for b in &labels[i + 1..] {
                assert_ne!(phrase.derive(a), phrase.derive(b), "{a:?} {b:?}");
            }
        }
    }
}
