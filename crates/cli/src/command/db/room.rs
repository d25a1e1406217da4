use super::args::Part;
use crate::command::data::Desk;
use crate::command::data::args::At;
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use crate::local::{self, has_store};
use crate::terminal::Report;
use cloudpal_base::{Database, Kind, Sub};
use cloudpal_store::Store;
use std::path::Path;

/// A database of a folder, in use.
pub struct Room {
    pub store: Store,
    pub base: Database,
}

impl Room {
    /// Opens a database that is there already.
    pub fn open(desk: Desk<'_>, name: &str, at: &At) -> Result<Self, Failure> {
        let store = open(desk, at)?;
        let base = Database::open(&store, name).map_err(failed)?;
        Ok(Room { store, base })
    }

    /// The sub-database that is meant. Its kind need not be said if there is one of that name already; `usual` is that of a new
    /// one.
    pub fn sub(&self, part: &Part, usual: Kind) -> Result<Sub, Failure> {
        let name = part.sub.clone().unwrap_or_default();
        let kind = match part.kind {
            Some(kind) => kind,
            None => self.kind(&name, usual)?,
        };
        Sub::new(name, kind).map_err(|error| Failure::lift(Exit::Usage, error))
    }

    fn kind(&self, name: &str, usual: Kind) -> Result<Kind, Failure> {
        let subs = self.base.snapshot().subs().map_err(failed)?;
        let kinds: Vec<Kind> = subs.iter().filter(|sub| sub.name() == name).map(Sub::kind).collect();
        match kinds[..] {
            [] => Ok(usual),
            [kind] => Ok(kind),
            _ if kinds.contains(&usual) => Ok(usual),
            _ => {
                let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
                let message = format!(
                    "there are several such sub-databases, so say which: --kind {}",
                    names.join(" or ")
                );
                Err(Failure::new(Exit::Usage, message))
            }
        }
    }

    /// Closes the database and the folder.
    pub fn close(self) -> Result<(), Failure> {
        let Room { store, base } = self;
        base.close().map_err(failed)?;
        drop(base);
        store.close().map_err(failed)
    }

    /// Prints a result after the folder was closed well: what did not reach the disk is not reported as done.
    pub fn finish(self, desk: Desk<'_>, report: &Report) -> Result<(), Failure> {
        self.close()?;
        desk.terminal.print(report)
    }
}

/// Opens a folder that is there already: a mistyped one is not made.
pub fn open(desk: Desk<'_>, at: &At) -> Result<Store, Failure> {
    let dir = folder(at)?;
    if !has_store(dir) {
        let message = format!(
            "there is no data in {} yet; `create` and `join` make the folder, is it the right one?",
            dir.display()
        );
        return Err(Failure::new(Exit::NotFound, message));
    }
    local::store(desk.app.person, dir)
}

/// Opens a folder, or makes it.
pub fn open_or_make(desk: Desk<'_>, at: &At) -> Result<Store, Failure> {
    local::store(desk.app.person, folder(at)?)
}

fn folder(at: &At) -> Result<&Path, Failure> {
    at.store.as_deref().ok_or_else(|| {
        let message = "say in which folder of this machine the database is with --store DIR; a pal does not \
                       offer databases to this program yet";
        Failure::new(Exit::Usage, message)
    })
}
