//! What logs there are, and which implementation can write or read which.

use crate::dice::Dice;
use crate::stage::{self, Kind};
use serde::Serialize;

/// A sort of log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// One signer; the key is the manifest's hash.
    Default,
    /// One signer; the key is the signer's own, as version 9 had it.
    Compat,
    /// The default with every block encrypted.
    Encrypted,
    /// A compat log encrypted the way only version 10 does.
    EncryptedCompat,
    /// Several signers of whom a quorum signs; the manifest's version.
    Multi(u8),
}

impl Flavour {
    /// Every one of them.
    pub const ALL: [Flavour; 8] = [
        Flavour::Default,
        Flavour::Compat,
        Flavour::Encrypted,
        Flavour::EncryptedCompat,
        Flavour::Multi(0),
        Flavour::Multi(1),
        Flavour::Multi(2),
        Flavour::Multi(3),
    ];

    /// Whether a reader needs a key to understand the blocks.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Flavour::Encrypted | Flavour::EncryptedCompat)
    }
}

/// Whether an implementation can make such a log. Version 10 refuses manifests other than 0 and 1. We never
/// make an encrypted compat log, because version 11 crashes on it.
pub fn can_write(kind: Kind, flavour: Flavour) -> bool {
    match flavour {
        Flavour::EncryptedCompat => kind == Kind::Ten,
        _ => can_read(kind, flavour),
    }
}

/// Whether an implementation can read such a log.
pub fn can_read(kind: Kind, flavour: Flavour) -> bool {
    match flavour {
        Flavour::EncryptedCompat => kind != Kind::Eleven,
        Flavour::Multi(2 | 3) => kind != Kind::Ten,
        _ => true,
    }
}

/// How the writer makes its log, as the peers are told.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Make {
    /// `default`, `compat` or `multi`.
    pub kind: &'static str,
    /// Of a compat log: our store makes them of its own names only, from which the signer's key pair follows.
    pub name: Option<String>,
    /// Of the manifest.
    pub version: u8,
    /// How many must sign.
    pub quorum: u8,
    /// Whether signers may sign different lengths.
    pub allow_patch: bool,
    /// Seeds of the signers' key pairs, in hex.
    pub signers: Vec<String>,
    /// Application data in the manifest, which versions 2 and 3 have.
    pub user_data: Option<String>,
}

impl Make {
    /// A log of this sort.
    pub fn roll(flavour: Flavour, dice: &mut Dice) -> Make {
        let mut make = Make {
            kind: "default",
            name: None,
            version: 1,
            quorum: 1,
            allow_patch: false,
            signers: vec![dice.key()],
            user_data: None,
        };
        match flavour {
            Flavour::Default | Flavour::Encrypted => {}
            Flavour::Compat | Flavour::EncryptedCompat => {
                make.kind = "compat";
                let name = make.signers.remove(0);
                make.signers.push(hex::encode(stage::seed_of(&name)));
                make.name = Some(name);
            }
            Flavour::Multi(version) => {
                let signers = dice.between(1, 4);
                make.kind = "multi";
                make.version = version;
                make.quorum = dice.between(1, signers) as u8;
                make.allow_patch = dice.once_in(2);
                make.signers = (0..signers).map(|_| dice.key()).collect();
                make.user_data = (version >= 2 && dice.once_in(2)).then(|| dice.key());
            }
        }
        make
    }
}
