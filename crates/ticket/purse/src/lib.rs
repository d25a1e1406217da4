//! The person's wallet of blind tickets.
//!
//! Tickets are bought for a voucher, swapped clean at once, kept, locked to one data centre when a pal is
//! created there, and taken back when it leaves. Secrets derive from the seed (NUT-13), so the seed words
//! alone bring the balance back.
//!
//! ```text
//!  buy:   voucher noted -> quote noted -> paid -> blanks noted -> signed, FRESH -> swapped, CLEAN
//!  lock:  CLEAN -> inputs and blanks noted -> swapped: change CLEAN, tickets LOCKED
//!         LOCKED -> handed_over -> HANDED -> reclaim -> CLEAN
//! ```
//!
//! Every arrow that crosses the network is noted before it is sent and may be cut at any point:
//! [`Purse::recover`] finishes or undoes it. Dropping a future does not stop its work; it runs on and is
//! noted all the same.
//!
//! What it never does: send on the DLEQ proof of a purchase (it is not even stored: together with the
//! seller it would link ticket and buyer), lock what was not swapped clean, ask the seller about tickets
//! that a data centre may still redeem, or log a secret.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! # let mint = cloudpal_mint::State::init(&dir.path().join("mint"))?;
//! # let code = mint.ledger()?.print(100)?.reveal();
//! # let service = cloudpal_mint::Service::start(&mint, "127.0.0.1:0".parse()?).await?;
//! use cloudpal_purse::{LockRequest, Purse, step_amounts};
//!
//! let purse = Purse::open(&dir.path().join("purse"), service.url(), &[7; 64])?;
//! let bought = purse.buy(&code, |step| println!("{step:?}")).await?;
//! assert_eq!(bought.amount, 100);
//!
//! let tickets = purse
//!     .lock(LockRequest {
//!         amounts: step_amounts(80),
//!         till_pubkey: "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".into(),
//!         locktime_unix: 4_000_000_000,
//!         host: "https://dc.example".into(),
//!         pal: "pal-1".into(),
//!     })
//!     .await?;
//! assert_eq!(tickets.len(), 65); // 64 ones and a 16
//! assert_eq!(purse.balance().await?, 20);
//! assert_eq!(purse.unfinished().await?.len(), 65);
//! # service.stop().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })
//! # }
//! ```

#![forbid(unsafe_code)]

mod book;
mod buy;
mod core;
mod lock;
mod purse;
mod reclaim;
mod recover;
mod work;

pub use book::BookError;
pub use buy::{Bought, BuyError, BuyStep};
pub use cloudpal_form::{
    Dleq, ExchangeError, ReturnSignature, Route, SellerError, Ticket, TicketFormError, Voucher,
    VoucherFormError,
};
pub use core::{OpenError, WorkError};
pub use lock::{LockError, LockRequest, LockedTicket, step_amounts};
pub use purse::Purse;
pub use reclaim::{Leave, ReclaimError, Reclaimed};
pub use recover::{RecoverError, Recovered};
