//! What a data centre needs of tickets: check them offline, hold them, redeem them, give them back.
//!
//! Offline checking is sound because each host has one key of its own, every ticket is locked to that
//! key, and lock and keyset end only after the service and a margin for settling: until then nobody but
//! this till can spend the ticket, so a table of what was seen is enough against double spending.
//!
//! ```text
//!   OFFERED --accept--> HELD --redeem--> REDEEMED --settle--> credit note
//!      |                  |
//!      |                  +--owner took it back after the locktime--> EXPIRED
//!      +--sign_return--> RETURNED   (never acceptable again)
//! ```
//!
//! OFFERED is a ticket on the wire: [`Till::check`] judges it and records nothing.
//!
//! What it never does: ask the seller whether a ticket is good, learn who bought it, read a clock (the
//! caller brings `now_unix`), or log a ticket. It blocks: call it from a thread that may.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! use cloudpal_till::{AcceptError, Terms, Till};
//!
//! let till = Till::open(&dir.path().join("till"))?;
//! assert_eq!(till.public_key().len(), 66);
//!
//! let terms = Terms::at(1_795_000_000);
//! let nothing = till.accept("pal-1", &[], &terms);
//! assert!(matches!(nothing, Err(AcceptError::Empty)));
//! assert_eq!(till.totals()?.held, 0);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod accept;
mod key;
mod redeem;
mod returns;
mod settle;
mod store;
mod till;
mod trust;

pub use accept::{AcceptError, Accepted, Fault, MARGIN_SECS, Terms};
pub use cloudpal_form::{
    Dleq, Keyset, Lock, MAX_TICKETS, ReturnSignature, Route, Seller, SellerError, SignedNote, Ticket,
    TicketFormError,
};
pub use key::KeyError;
pub use redeem::{RedeemError, Redeemed};
pub use returns::ReturnError;
pub use settle::{SettleError, Settled};
pub use store::StoreError;
pub use till::{OpenError, Till, Totals};
pub use trust::{TrustError, fetch_keysets};
