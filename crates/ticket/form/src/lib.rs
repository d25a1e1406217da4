//! Tickets as plain data, and how to talk to the seller who makes them.
//!
//! Purse, till and mint share three things, and only these live here:
//!
//! - [`Ticket`]: one Cashu proof of unit `cpm` (compute-minutes), locked by NUT-11 to one data
//!   centre's key, with the DLEQ proof that lets that data centre check it without the seller.
//!   [`Lock`] is the only form of lock that CloudPal writes or accepts.
//! - [`Voucher`]: the code that an operator prints and a person types.
//! - [`Seller`]: the seller's HTTP interface, blocking, and [`exchange()`], the one way in which purse
//!   and till turn proofs into other proofs: written down first, safe to repeat after any crash.
//!
//! What it never does: keep state, read a clock, draw random numbers, or log. Callers bring blanks
//! whose secrets they have already stored; that is what makes a lost reply harmless.
//!
//! ```
//! use cloudpal_form::Voucher;
//!
//! let printed = Voucher::new(500, [7; 16]).expect("500 cpm is a sellable amount").reveal();
//! assert!(printed.starts_with("CPM500-"));
//! let typed = Voucher::parse(&printed.to_lowercase()).expect("case does not matter");
//! assert_eq!(typed.amount(), 500);
//! ```

#![forbid(unsafe_code)]

mod blank;
mod exchange;
mod keyset;
mod lock;
mod note;
mod seller;
mod settle;
mod ticket;
mod voucher;

pub use blank::{Blank, BlankError};
pub use exchange::{ExchangeError, exchange, issue};
pub use keyset::{Keyset, KeysetError};
pub use lock::{Lock, LockFormError};
pub use note::{CreditNote, SignedNote};
pub use seller::{Quote, Route, Seller, SellerError};
pub use settle::{Settlement, SettlementState};
pub use ticket::{
    Dleq, MAX_TICKET_BYTES, MAX_TICKETS, MAX_TICKETS_BYTES, ReturnSignature, Ticket, TicketFormError,
};
pub use voucher::{MAX_VOUCHER_AMOUNT, Voucher, VoucherFormError};

/// The unit of every ticket: one minute awake of a small machine.
pub const UNIT: &str = "cpm";

/// The Cashu payment method by which vouchers are turned into tickets.
pub const VOUCHER_METHOD: &str = "voucher";

/// The Cashu payment method by which data centres settle.
pub const SETTLE_METHOD: &str = "dc-settle";
