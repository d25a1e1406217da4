//! What the pal remembers across cold boots: its keys, its devices, its tickets, the host's last receipt.

use super::stash::Stash;
use super::volume::{Disk, Volume, VolumeError};
use cloudpal_core::{AgreementSecret, Digest, Milli, PalId, Secret, SignedBytes, SigningKey};
use cloudpal_meter::Chain;
use cloudpal_protocol::guest::PalKeys;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The pal's secret keys.
pub struct Keys {
    /// The pal's end of the owner channel, for `cloudpald data`.
    pub channel: Secret<32>,
    /// Acknowledges receipts.
    pub sign: SigningKey,
    /// WireGuard.
    pub wireguard: AgreementSecret,
}

/// The record on the volume. It only ever exists sealed or in this process.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u16,
    channel: Zeroizing<[u8; 32]>,
    sign: Zeroizing<[u8; 32]>,
    wireguard: Zeroizing<[u8; 32]>,
    roster: Option<SignedBytes>,
    stash: Stash,
    receipts: Receipts,
}

/// A [`Chain`] as it is stored.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Receipts {
    next: u64,
    previous: Digest,
    consumed: Milli,
    until: u64,
    /// Days since 1970 of the last receipt, and what was consumed before that day.
    day: u64,
    consumed_before: Milli,
}

const DAY_MS: u64 = 86_400_000;

const VERSION: u16 = 1;

/// The pal's memory, on its volume.
pub struct State {
    volume: Volume<Disk>,
    stored: Stored,
}

fn random<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    // The kernel's generator was seeded before this process started; it cannot fail then.
    getrandom::fill(&mut *bytes).expect("the kernel's random generator works");
    bytes
}

impl State {
    /// Opens the volume with the host's key. A blank one gets fresh keys, which are on the disk before
    /// this returns.
    pub fn open(key: &Secret<32>) -> Result<Self, VolumeError> {
        let (volume, record) = Volume::open(Disk::find("network")?, key)?;
        match record {
            Some(record) => {
                let stored: Stored = postcard::from_bytes(&record).map_err(VolumeError::Version)?;
                if stored.version != VERSION {
                    return Err(VolumeError::Version(postcard::Error::WontImplement));
                }
                Ok(State { volume, stored })
            }
            None => {
                let mut state = State { volume, stored: Stored::fresh() };
                state.save()?;
                Ok(state)
            }
        }
    }

    fn save(&mut self) -> Result<(), VolumeError> {
        let record = postcard::to_stdvec(&self.stored).map(Zeroizing::new).map_err(VolumeError::Version)?;
        self.volume.store(&record, *random())
    }

    /// The secret keys.
    pub fn keys(&self) -> Keys {
        Keys {
            channel: Secret::new(*self.stored.channel),
            sign: SigningKey::from_secret(&Secret::new(*self.stored.sign)),
            wireguard: AgreementSecret::from_secret(&Secret::new(*self.stored.wireguard)),
        }
    }

    /// The roster in force.
    pub fn roster(&self) -> Option<&SignedBytes> {
        self.stored.roster.as_ref()
    }

    /// Stores a roster that was checked.
    pub fn set_roster(&mut self, roster: SignedBytes) -> Result<(), VolumeError> {
        let before = self.stored.roster.replace(roster);
        self.save().inspect_err(|_| self.stored.roster = before)
    }

    /// The tickets.
    pub fn stash(&self) -> &Stash {
        &self.stored.stash
    }

    /// Stores changed tickets. Nothing changes when they cannot be stored.
    pub fn set_stash(&mut self, stash: Stash) -> Result<(), VolumeError> {
        let before = std::mem::replace(&mut self.stored.stash, stash);
        self.save().inspect_err(|_| self.stored.stash = before)
    }

    /// The receipts checked so far.
    pub fn chain(&self, pal: PalId) -> Chain {
        let Receipts { next, previous, consumed, until, .. } = self.stored.receipts;
        Chain { pal, next, previous, consumed, until }
    }

    /// Consumed on the day of `unix_ms` (UTC), by receipts.
    pub fn consumed_on_day_of(&self, unix_ms: u64) -> Milli {
        let receipts = self.stored.receipts;
        if receipts.day == unix_ms / DAY_MS {
            receipts.consumed - receipts.consumed_before
        } else {
            Milli::ZERO
        }
    }

    /// Stores the chain with one more receipt.
    pub fn set_chain(&mut self, chain: &Chain) -> Result<(), VolumeError> {
        let Chain { next, previous, consumed, until, .. } = *chain;
        let old = self.stored.receipts;
        let day = until / DAY_MS;
        let consumed_before = if day == old.day { old.consumed_before } else { old.consumed };
        let new = Receipts { next, previous, consumed, until, day, consumed_before };
        let before = std::mem::replace(&mut self.stored.receipts, new);
        self.save().inspect_err(|_| self.stored.receipts = before)
    }
}

impl Stored {
    fn fresh() -> Self {
        Stored {
            version: VERSION,
            channel: random(),
            sign: random(),
            wireguard: random(),
            roster: None,
            stash: Stash::default(),
            receipts: Receipts::default(),
        }
    }
}

impl Keys {
    /// The public halves.
    pub fn public(&self) -> PalKeys {
        PalKeys {
            channel: AgreementSecret::from_secret(&self.channel).public(),
            sign: self.sign.public(),
            wireguard: self.wireguard.public(),
        }
    }
}
