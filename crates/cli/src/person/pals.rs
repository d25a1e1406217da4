//! What is known of a pal, kept beside the keys. Nothing in it is secret.

use super::{Person, PersonError, files};
use cloudpal_core::{PalId, PublicKey, SignedBytes};
use cloudpal_plan::Device;
use cloudpal_protocol::guest::PalKeys;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// How far the making of a pal has come. Each step is stored before the next begins, so that
/// `cloudpal create` can go on from here after a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Its id is chosen; credit may or may not be locked.
    Planned,
    /// The host may have the first step of credit.
    Paying,
    /// The pal ran, and its keys are pinned.
    Pinned,
    /// The pal has roster and all its credit.
    Funded,
    /// Nothing is left to do.
    Ready,
    /// The owner began to delete it; taking credit back comes first.
    Leaving,
}

/// A pal as this device knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PalRecord {
    /// Its id.
    pub id: PalId,
    /// Its name.
    pub name: String,
    /// Where its host is.
    pub host_url: String,
    /// The host's key, pinned when the pal was made.
    pub host_key: PublicKey,
    /// The key that its tickets are locked to.
    pub till: String,
    /// `Signed<PriceList>` that was agreed when the pal was made.
    pub prices: SignedBytes,
    /// Whose tickets pay for it.
    pub mint: String,
    /// How far it has come.
    pub stage: Stage,
    /// Credit it was made with, whole cpm.
    pub credit_cpm: u64,
    /// Locktime of the credit it was made with, seconds since 1970.
    pub locktime_unix: u64,
    /// Its keys, pinned at the first boot.
    pub keys: Option<PalKeys>,
    /// What devices dial.
    pub endpoint: Option<SocketAddr>,
    /// `Signed<Roster>`, the newest that this device signed.
    pub roster: Option<SignedBytes>,
    /// Whether the pal is known to have that roster.
    pub roster_sent: bool,
    /// Devices that were removed, for `device restore`.
    pub removed: Vec<Device>,
    /// The top-up under way began by paying its first step to the host directly.
    pub paying_directly: bool,
    /// The owner locked it on purpose: agents leave it so until it is unlocked by hand.
    #[serde(default)]
    pub keep_locked: bool,
}

impl Person {
    /// Every pal, by name.
    pub fn pals(&self) -> Result<Vec<PalRecord>, PersonError> {
        let mut pals = Vec::new();
        for path in files::list(&self.pals_dir())? {
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let Some(bytes) = files::read(&path)? else { continue };
            let pal: PalRecord = serde_json::from_slice(&bytes)
                .map_err(|source| PersonError::Damaged { path: path.clone(), source: Some(source) })?;
            pals.push(pal);
        }
        pals.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        Ok(pals)
    }

    /// The pal of that name or id (or the start of its id, eight digits or more); without one, the only
    /// pal there is.
    pub fn pal(&self, wanted: Option<&str>) -> Result<PalRecord, PersonError> {
        let mut pals = self.pals()?;
        if let Some(wanted) = wanted {
            let fits = |pal: &PalRecord| {
                pal.name == wanted || (wanted.len() >= 8 && pal.id.to_string().starts_with(wanted))
            };
            pals.retain(fits);
        }
        match (pals.len(), wanted) {
            (1, _) => Ok(pals.remove(0)),
            (0, Some(wanted)) => Err(PersonError::NoPal(wanted.to_owned())),
            (0, None) => Err(PersonError::NoPals),
            (several, _) => Err(PersonError::Ambiguous(several)),
        }
    }

    /// Stores what is known of a pal.
    pub fn save(&self, pal: &PalRecord) -> Result<(), PersonError> {
        files::make_private_dir(&self.pals_dir())?;
        let text = serde_json::to_vec_pretty(pal)
            .map_err(|source| PersonError::Damaged { path: self.pal_path(pal.id), source: Some(source) })?;
        Ok(files::write_private(&self.pal_path(pal.id), &text)?)
    }

    /// Forgets a pal.
    pub fn forget(&self, id: PalId) -> Result<(), PersonError> {
        Ok(files::remove(&self.pal_path(id))?)
    }

    fn pals_dir(&self) -> PathBuf {
        self.dir.join("pals")
    }

    fn pal_path(&self, id: PalId) -> PathBuf {
        self.pals_dir().join(format!("{id}.json"))
    }
}
