//! Data in a folder of this machine (`--store DIR`): for those who have no pal, and for peers.
//!
//! - [`shelf`]: the open store, and what it holds by name.
//! - [`catalogue`]: which logs, sorted maps and drives there are; laid out as a pal lays out its own.
//! - [`key`]: keys as people and npm write them.
//! - [`unlock`]: the store's key, sealed to a secret that only this device has.
//! - [`stop`]: Ctrl-C as a thing to wait for.
//!
//! What is in the folder is of no use without the secret, which lies in the configuration folder.

pub mod catalogue;
pub mod failure;
pub mod key;
pub mod shelf;
pub mod stop;
pub mod unlock;

pub use catalogue::{Item, Kind};
pub use shelf::{Shelf, Wish};
