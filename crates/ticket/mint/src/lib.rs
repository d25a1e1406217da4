//! The ticket seller: a Cashu mint of unit `cpm` (compute-minutes) that is paid by vouchers.
//!
//! The seller knows who pays, and never which pal a ticket pays for: it signs blinded secrets, so the
//! ticket that a data centre brings back cannot be matched with the purchase. Everything on the wire is
//! Cashu (NUTs 00-07, 09-13, 19), so an unmodified cashu-ts can buy, swap, lock and restore. Two methods
//! are ours: tickets are bought by `voucher` and settled by `dc-settle`, which answers with a signed
//! credit note.
//!
//! A quote is paid by `POST /v1/voucher {"quote": id, "voucher": code}` on the same server. The voucher
//! is marked spent and the payment recorded in one transaction of `vouchers.sqlite`; the mint's own
//! database learns of it right after, or at the next look at the quote if a crash came between.
//!
//! What it never does: store a voucher's code (only its hash), print or log a secret, let a voucher pay
//! twice, or run twice on one state folder.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! use cloudpal_mint::{Service, State};
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let state = State::init(&dir.path().join("mint"))?;
//! let voucher = state.ledger()?.print(500)?;
//! assert_eq!(voucher.amount(), 500);
//!
//! let service = Service::start(&state, "127.0.0.1:0".parse()?).await?;
//! assert!(service.url().starts_with("http://127.0.0.1:"));
//! service.stop().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })
//! # }
//! ```

#![forbid(unsafe_code)]

mod backend;
mod desk;
mod ledger;
mod limiter;
mod note;
mod rotate;
mod service;
mod state;
mod totals;

pub use cloudpal_form::{CreditNote, SignedNote};
pub use ledger::{Ledger, LedgerError, Redeemed};
pub use rotate::rotate;
pub use service::{ServeError, Service};
pub use state::{InitError, OpenError, State};
pub use totals::{KeysetTotals, TotalsError, totals};
