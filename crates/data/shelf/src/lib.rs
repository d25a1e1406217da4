//! # Named logs, maps and drives of one store
//!
//! A [`Shelf`] is an open [`Store`](cloudpal_store::Store) with a catalogue: people name things, and the shelf knows which
//! log, encryption key and writer stand behind a [`Kind`] and a name. A pal and a folder of a device are laid out alike, so that a
//! folder can move to a pal.
//!
//! - [`Key`]: keys as people and npm write them.
//! - [`Item`], [`Kind`], [`Wish`]: what there is, and what is to be made.
//! - [`Shelf`]: things opened; writers of one map or drive in a process share one object.
//! - [`DriveLogs`]: the logs of a drive, also for those who open one without a shelf.
//! - [`json`]: things, entries and files as the command line and a pal's interface tell them.
//!
//! It asks no peer and serves nobody: whoever holds the shelf connects its [`Store`](cloudpal_store::Store). Secrets come in
//! with a wish, lie in the catalogue, whose log the store encrypts, and are never printed.
//!
//! ```
//! use cloudpal_shelf::{Kind, Options, Shelf, Wish};
//! use cloudpal_store::{Store, StoreKey};
//!
//! let dir = tempfile::tempdir()?;
//! let key = StoreKey::random()?;
//! let shelf = Shelf::new(Store::open(dir.path(), &key, Default::default())?, Options::default())?;
//! let pantry = shelf.create(Kind::Bee, &Wish::named("pantry"))?.into_item();
//! shelf.bee(&pantry)?.put("beans", "3 tins")?;
//! shelf.close()?;
//!
//! let shelf = Shelf::new(Store::open(dir.path(), &key, Default::default())?, Options::default())?;
//! let found = shelf.find(Kind::Bee, &pantry.key.to_string())?;
//! assert_eq!(found.name, "pantry");
//! assert_eq!(shelf.bee(&found)?.get("beans")?.unwrap().value.unwrap(), "3 tins");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod json;

mod catalogue;
mod error;
mod item;
mod key;
mod logs;
mod shelf;

pub use error::ShelfError;
pub use item::{Item, Kind};
pub use key::{Key, ParseKeyError};
pub use logs::DriveLogs;
pub use shelf::{Made, Options, Shelf, Wish};
