//! # What a pal's network looks like
//!
//! Which devices belong to it and where they live ([`Roster`], [`Overlay`]), what they are called
//! ([`names`]), what a stock WireGuard client needs to join ([`conf`]) and which datagrams may wake a
//! sleeping pal ([`wake`]).
//!
//! This crate never opens a socket or file, never reads a clock and never asks for randomness: time,
//! secrets and bytes come in as arguments, and it answers with values. Bytes from the network are
//! read by total functions: whatever comes in, they answer and never panic.
//!
//! ```
//! use cloudpal_core::{AgreementKey, PalId};
//! use cloudpal_plan::{Device, Overlay, Roster, names};
//!
//! let overlay = Overlay::of(PalId::from_random([7; 16]));
//! let mut roster = Roster::empty("ada");
//! let place = overlay.next_free(&roster).expect("an empty roster has room");
//! roster.devices.push(Device {
//!     name: "laptop".into(),
//!     wireguard: AgreementKey::from_bytes([1; 32]),
//!     v4: place.v4,
//!     v6: place.v6,
//!     added_unix_ms: 0,
//! });
//! roster.check(&overlay)?;
//! assert_eq!(names::resolve(&roster, &overlay, "laptop.ada.internal"), Some(place));
//! # Ok::<(), cloudpal_plan::RosterError>(())
//! ```

pub mod conf;
pub mod names;
mod overlay;
mod roster;
pub mod wake;

pub use overlay::{Addresses, Overlay};
pub use roster::{Device, MAX_DEVICES, MAX_ROSTER_BYTES, Roster, RosterError};
