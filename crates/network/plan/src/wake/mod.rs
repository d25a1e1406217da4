//! Which datagrams may wake a sleeping pal.
//!
//! ```text
//!            fall_asleep                 right mac1, new, within budget
//!   Passing -------------> Listening ---------------------------------> Waking
//!      ^                       |    data > 32 bytes of a recorded session  |
//!      |                       +--------------- wake() ------------------->|
//!      +------------------------------ pass() -----------------------------+
//! ```
//!
//! *Listening*: a datagram rings, is answered with a cookie challenge, or is dropped. *Waking*: what
//! can be of use to the pal is held, within bounds. *Passing*: everything goes to the pal.
//!
//! mac1 needs only the pal's public key, so it is a doorbell, not a proof of who rings. What bounds
//! the harm of those who know the key: initiations seen before or answered before never ring, each
//! ring takes from a budget, and when that is empty a source must show by a cookie (as WireGuard
//! does) that it is where it says; then it draws on a budget of its own.

mod bell;
mod budget;
mod mac;
mod memory;
mod packet;

pub use bell::{Bell, Counters, HELD_BYTES, HELD_PACKETS, Reason, SESSIONS, Session, Verdict};
pub use budget::BURST;
pub use mac::mac1_fits;
pub use memory::{ANSWERED, INITIATIONS, MemoryError};
pub use packet::{Kind, parse};
