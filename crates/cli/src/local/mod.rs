//! Data in a folder of this machine (`--store DIR`): for those who have no pal, and for peers.
//!
//! - [`store`]: the store in a folder; [`open`]: its [shelf](cloudpal_shelf), laid out as a pal lays out its own.
//! - [`unlock`]: the store's key, sealed to a secret that only this device has.
//! - [`failure`]: failures of the data crates, with their exit codes; those of databases in `databases`.
//! - [`stop`]: Ctrl-C as a thing to wait for.
//!
//! What is in the folder is of no use without the secret, which lies in the configuration folder.

mod databases;
pub mod failure;
pub mod stop;
pub mod unlock;

pub use unlock::has_store;

use crate::failure::Failure;
use crate::person::Person;
use cloudpal_shelf::{Options, Shelf};
use cloudpal_store::Store;
use std::path::Path;

/// Opens the shelf in `dir`, or makes one there.
pub fn open(person: &Person, dir: &Path) -> Result<Shelf, Failure> {
    Ok(Shelf::new(store(person, dir)?, Options::default())?)
}

/// Opens the store in `dir`, or makes one there.
pub fn store(person: &Person, dir: &Path) -> Result<Store, Failure> {
    let key = unlock::store_key(person, dir)?;
    Store::open(dir, &key, cloudpal_store::Options::default()).map_err(failure::failed)
}
