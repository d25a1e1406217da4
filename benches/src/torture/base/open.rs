//! A real database in a real store.

use super::program::{Edit, INDEXED, Room};
use super::show::{Shown, show};
use crate::judge::Wrong;
use crate::subject::store_options;
use crate::trial::Found;
use anyhow::{Result, bail, ensure};
use cloudpal_base::{Batch, Cursor, Database, Durability, Options, Standing, WriteFault};
use cloudpal_store::{Store, StoreKey};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Opens every store in here: what is tried is loss, not secrecy.
pub const KEY: [u8; 32] = [6; 32];

const NAME: &str = "tortured";

/// Written out after some steps.
const VIEW: Options = Options { memory: 32 << 10 };

/// A view is made anew within a second of being found damaged. Counted in ticks, for a machine that stands still now and then.
const PATIENCE: u32 = 400;
const TICK: Duration = Duration::from_millis(10);

/// How the error of a batch begins that was refused, and is there all the same.
pub const REFUSED_YET_SHOWN: &str = "it was refused, and is shown all the same";

pub struct Open {
    pub store: Store,
    pub db: Database,
}

impl Open {
    /// Opens the database in a folder, or makes it there.
    pub fn new(folder: &Path) -> Result<Self> {
        let store = Store::open(folder, &StoreKey::new(KEY), store_options())?;
        let opened = Open::database(&store);
        match opened {
            Ok(db) => Ok(Open { store, db }),
            Err(error) => {
                let _ = store.close();
                Err(error)
            }
        }
    }

    fn database(store: &Store) -> Result<Database> {
        if !Database::names(store)?.iter().any(|name| name == NAME) {
            Database::create(store, NAME)?.close()?;
        }
        Ok(Database::open_with(store, NAME, VIEW)?)
    }

    /// Writes a batch, whose first change depends on what is shown now.
    pub fn write(&self, edits: &[Edit], durability: Durability) -> Result<()> {
        let mut batch = Batch::new();
        let now = self.db.snapshot().get(&Room::Counts.sub(), b"steps")?;
        if now.is_none() {
            batch.index(&Room::Notes.sub(), INDEXED);
        }
        batch.expect(&Room::Counts.sub(), "steps", now);
        edits.iter().for_each(|edit| edit.tell(&mut batch));
        let before = show(&self.db.snapshot())?;
        let refused = match self.db.write(batch, durability) {
            Ok(_) => return Ok(()),
            // It says that it was written.
            Err(fault @ WriteFault::Unconfirmed(_)) => return Err(fault.into()),
            Err(fault) => fault,
        };
        match show(&self.db.snapshot()) {
            Ok(now) if now != before => bail!("{REFUSED_YET_SHOWN}: {:#}", anyhow::Error::from(refused)),
            _ => Err(refused.into()),
        }
    }

    /// What it says by itself that is not as it should be.
    pub fn complaint(&self) -> Option<String> {
        let progress = self.db.progress();
        if let Some(loss) = self.store.losses().into_iter().find(|loss| loss.certain) {
            return Some(format!("had {}, has {}", loss.had, loss.has));
        }
        if self.db.standing() != Standing::Member {
            return Some(format!("it stands as {:?}", self.db.standing()));
        }
        let waits =
            !(progress.missing.is_empty() && progress.behind.is_empty() && progress.locked.is_empty());
        let refusals = self.db.refusals();
        (waits || !refusals.is_empty()).then(|| format!("{progress:?}, {refusals:?}"))
    }

    /// The view is what the logs say: as one that is built from them now.
    pub fn check_view(&self) -> Result<(), Wrong> {
        let differs = || -> Result<bool> {
            let built = self.db.at_time(u64::MAX)?;
            Ok(built.state_hash()? != self.db.snapshot().state_hash()?)
        };
        match differs() {
            Ok(false) => Ok(()),
            Ok(true) => Err(Wrong::Lost("the view is not what the logs say".into())),
            Err(error) => Err(Wrong::Lost(format!("the view cannot be built from the logs: {error:#}"))),
        }
    }

    /// Reads all there is, in every way.
    fn read(&self) -> Result<Shown> {
        let snapshot = self.db.snapshot();
        snapshot.state_hash()?;
        let shown = show(&snapshot)?;
        let mut after = Cursor::default();
        loop {
            let changes = self.db.changes(&after, 1_000)?;
            ensure!(!changes.more || changes.next != after, "the feed of changes stands still");
            after = changes.next;
            if !changes.more {
                return Ok(shown);
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // What cannot be written any more was told before.
        let _ = self.db.close();
        let _ = self.store.close();
    }
}

/// Opens and reads a database whose folder was changed: right, or put right by itself, or told.
pub fn survey(folder: &Path, state: &Shown) -> Result<Found, Wrong> {
    let Ok(open) = Open::new(folder) else { return Ok(Found::Noticed) };
    let mut refused = String::new();
    for _ in 0..PATIENCE {
        match open.read() {
            Ok(shown) if shown == *state => {
                return Ok(if open.db.rebuilds() > 0 { Found::Mended } else { Found::Unharmed });
            }
            Ok(_) if open.complaint().is_some() || !open.store.losses().is_empty() => {
                return Ok(Found::Noticed);
            }
            Ok(shown) => return Err(Wrong::Lost(super::show::difference(&shown, &[state]))),
            Err(error) => refused = format!("{error:#}"),
        }
        // What is only a view must come right without anybody's help.
        if !refused.contains("built again") {
            return Ok(Found::Noticed);
        }
        thread::sleep(TICK);
    }
    Err(Wrong::Unopenable(refused))
}
