use super::args::{Lasting, Part};
use crate::command::data::Desk;
use crate::command::data::args::At;
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use crate::local::{self, has_store};
use crate::remote::Remote;
use crate::remote::databases::RemoteBase;
use crate::terminal::Report;
use bytes::Bytes;
use cloudpal_base::{Batch, Database, Dot, Durability, Kind, Range, Resolution, Sub};
use cloudpal_serve::json::{self, Names};
use cloudpal_serve::owner::{self, Admission, Search};
use cloudpal_serve::wire::Step;
use cloudpal_store::Store;
use serde_json::Value;
use std::ops::ControlFlow;
use std::time::Duration;

/// A database in use.
pub enum Room {
    /// Of a folder of this machine.
    Folder(Store, Database),
    /// Of a pal.
    Pal(RemoteBase),
}

/// Where databases are.
pub enum House {
    /// In a folder of this machine.
    Folder(Store),
    /// At a pal.
    Pal(Remote),
}

impl House {
    /// A folder that is there already, as a mistyped one is not made; or the pal.
    pub fn open(desk: Desk<'_>, at: &At) -> Result<Self, Failure> {
        match &at.store {
            Some(dir) if !has_store(dir) => {
                let message = format!(
                    "there is no data in {} yet; `create` and `join` make the folder, is it the right one?",
                    dir.display()
                );
                Err(Failure::new(Exit::NotFound, message))
            }
            _ => House::open_or_make(desk, at),
        }
    }

    /// A folder, made if it is not there; or the pal.
    pub fn open_or_make(desk: Desk<'_>, at: &At) -> Result<Self, Failure> {
        match &at.store {
            Some(dir) => Ok(House::Folder(local::store(desk.app.person, dir)?)),
            None => desk.pal(at).map(House::Pal),
        }
    }
}

impl Room {
    /// Opens a database that is there already.
    pub fn open(desk: Desk<'_>, name: &str, at: &At) -> Result<Self, Failure> {
        match House::open(desk, at)? {
            House::Folder(store) => {
                let base = Database::open(&store, name).map_err(failed)?;
                Ok(Room::Folder(store, base))
            }
            House::Pal(pal) => Ok(Room::Pal(RemoteBase::new(pal, name))),
        }
    }

    /// Who is a member here, in words.
    pub fn who(&self) -> &'static str {
        match self {
            Room::Folder(..) => "this device",
            Room::Pal(_) => "this pal",
        }
    }

    /// The sub-database that is meant. Its kind need not be said if there is one of that name already; `usual` is that of a new
    /// one.
    pub fn sub(&self, part: &Part, usual: Kind) -> Result<Sub, Failure> {
        let name = part.sub.clone().unwrap_or_default();
        // A pal is asked in any case: a database that is not there is told as that.
        let subs = self.subs()?;
        let kind = match part.kind {
            Some(kind) => kind,
            None => kind_of(&subs, &name, usual)?,
        };
        Sub::new(name, kind).map_err(|error| Failure::lift(Exit::Usage, error))
    }

    /// The sub-databases that hold anything.
    pub fn subs(&self) -> Result<Vec<Sub>, Failure> {
        match self {
            Room::Folder(_, base) => owner::subs(base).map_err(failed),
            Room::Pal(base) => Ok(base.subs()?),
        }
    }

    /// What a key shows.
    pub fn value(&self, sub: &Sub, key: &[u8]) -> Result<Option<Bytes>, Failure> {
        match self {
            Room::Folder(_, base) => base.snapshot().get(sub, key).map_err(failed),
            Room::Pal(base) => Ok(base.value(sub, key)?),
        }
    }

    /// What keys show, in their order.
    pub fn values(&self, sub: &Sub, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Failure> {
        match self {
            Room::Folder(_, base) => {
                let view = base.snapshot();
                keys.iter().map(|key| view.get(sub, key).map_err(failed)).collect()
            }
            Room::Pal(base) => Ok(base.values(sub, keys)?),
        }
    }

    /// Writes a batch; where it lies.
    pub fn write(&self, steps: &[Step], lasting: Lasting) -> Result<Value, Failure> {
        let durability = lasting.durability();
        match self {
            Room::Folder(_, base) => {
                let mut batch = Batch::new();
                steps.iter().for_each(|step| step.add_to(&mut batch));
                Ok(json::written(&base.write(batch, durability).map_err(failed)?))
            }
            Room::Pal(base) => Ok(base.write(steps, durability)?),
        }
    }

    /// Gives entries to `visit` until it has enough.
    pub fn scan(
        &self,
        sub: &Sub,
        range: &Range,
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        match self {
            Room::Folder(_, base) => base.snapshot().scan(sub, range, visit).map_err(failed),
            Room::Pal(base) => Ok(base.scan(sub, range, visit)?),
        }
    }

    /// Conflicts of a sub-database.
    pub fn conflicts(&self, sub: &Sub) -> Result<Vec<Value>, Failure> {
        match self {
            Room::Folder(_, base) => {
                let names = Names::of(base);
                let all = base.conflicts(sub).map_err(failed)?;
                Ok(all.iter().map(|one| json::conflict(one, &names)).collect())
            }
            Room::Pal(base) => Ok(base.conflicts(sub)?),
        }
    }

    /// Settles a conflict; where the batch lies that did.
    pub fn resolve(&self, wanted: &Resolution) -> Result<Value, Failure> {
        match self {
            Room::Folder(_, base) => owner::resolve(base, wanted, Durability::Durable).map_err(failed),
            Room::Pal(base) => Ok(base.resolve(wanted, Durability::Durable)?),
        }
    }

    /// Members, how far their logs have come, conflicts, what was refused.
    pub fn info(&self) -> Result<Value, Failure> {
        match self {
            Room::Folder(_, base) => owner::info(base).map_err(failed),
            Room::Pal(base) => Ok(base.info()?),
        }
    }

    /// How far it is with the peers that are connected.
    pub fn sync(&self) -> Result<Value, Failure> {
        match self {
            Room::Folder(_, base) => Ok(owner::sync(base)),
            Room::Pal(base) => Ok(base.sync()?),
        }
    }

    /// Some batches behind a cursor; if there are none, those that come within `wait`.
    pub fn batches(&self, after: &str, wait: Duration) -> Result<Value, Failure> {
        match self {
            Room::Folder(_, base) => {
                let version = base.version();
                let cursor = owner::cursor(base, after).map_err(failed)?;
                let found = owner::batches(base, cursor.clone(), BATCHES).map_err(failed)?;
                if wait.is_zero() || found["batches"].as_array().is_some_and(|all| !all.is_empty()) {
                    return Ok(found);
                }
                base.wait(version, wait);
                owner::batches(base, cursor, BATCHES).map_err(failed)
            }
            Room::Pal(base) => Ok(base.batches(after, wait)?),
        }
    }

    /// What was done to a key.
    pub fn history(&self, sub: &Sub, key: &[u8]) -> Result<Value, Failure> {
        match self {
            Room::Folder(_, base) => owner::history(base, sub, key).map_err(failed),
            Room::Pal(base) => Ok(base.history(sub, key)?),
        }
    }

    /// What a key showed at a time, in milliseconds since 1970.
    pub fn past(&self, sub: &Sub, key: &[u8], at_ms: u64) -> Result<Option<Bytes>, Failure> {
        match self {
            Room::Folder(_, base) => owner::past(base, sub, key, at_ms).map_err(failed),
            Room::Pal(base) => Ok(base.past(sub, key, at_ms)?),
        }
    }

    /// Undoes a batch.
    pub fn undo(&self, batch: Dot) -> Result<Value, Failure> {
        match self {
            Room::Folder(_, base) => owner::undo(base, batch).map_err(failed),
            Room::Pal(base) => Ok(base.undo(&json::batch(batch))?),
        }
    }

    /// Indexes a field of documents.
    pub fn index(&self, sub: &Sub, field: &str) -> Result<Value, Failure> {
        match self {
            Room::Folder(_, base) => owner::index(base, sub, field).map_err(failed),
            Room::Pal(base) => Ok(base.index(sub, field)?),
        }
    }

    /// Finds documents by an indexed field.
    pub fn find(&self, sub: &Sub, wanted: &Search) -> Result<Value, Failure> {
        match self {
            Room::Folder(_, base) => owner::find(base, sub, wanted).map_err(failed),
            Room::Pal(base) => Ok(base.find(sub, wanted)?),
        }
    }

    /// Lets a device in.
    pub fn admit(&self, wanted: &Admission) -> Result<Value, Failure> {
        match self {
            Room::Folder(_, base) => owner::admit(base, wanted).map_err(failed),
            Room::Pal(base) => Ok(base.admit(wanted)?),
        }
    }

    /// Cuts a member off.
    pub fn remove(&self, member: &str, reason: &str) -> Result<Value, Failure> {
        match self {
            Room::Folder(_, base) => owner::remove(base, member, reason).map_err(failed),
            Room::Pal(base) => Ok(base.remove(member, reason)?),
        }
    }

    /// Makes a checkpoint.
    pub fn checkpoint(&self) -> Result<Value, Failure> {
        match self {
            Room::Folder(_, base) => owner::checkpoint(base).map_err(failed),
            Room::Pal(base) => Ok(base.checkpoint()?),
        }
    }

    /// Forgets history that is older.
    pub fn forget(&self, keep: Duration) -> Result<Value, Failure> {
        match self {
            Room::Folder(_, base) => owner::forget(base, keep).map_err(failed),
            Room::Pal(base) => Ok(base.forget(keep)?),
        }
    }

    /// Closes the database and the folder.
    pub fn close(self) -> Result<(), Failure> {
        match self {
            Room::Folder(store, base) => {
                base.close().map_err(failed)?;
                drop(base);
                store.close().map_err(failed)
            }
            Room::Pal(_) => Ok(()),
        }
    }

    /// Prints a result after the folder was closed well: what did not reach the disk is not reported as done.
    pub fn finish(self, desk: Desk<'_>, report: &Report) -> Result<(), Failure> {
        self.close()?;
        desk.terminal.print(report)
    }
}

/// Batches read at a time.
const BATCHES: usize = 100;

fn kind_of(subs: &[Sub], name: &str, usual: Kind) -> Result<Kind, Failure> {
    let kinds: Vec<Kind> = subs.iter().filter(|sub| sub.name() == name).map(Sub::kind).collect();
    match kinds[..] {
        [] => Ok(usual),
        [kind] => Ok(kind),
        _ if kinds.contains(&usual) => Ok(usual),
        _ => {
            let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
            let message =
                format!("there are several such sub-databases, so say which: --kind {}", names.join(" or "));
            Err(Failure::new(Exit::Usage, message))
        }
    }
}
