//! # What CloudPal's programs say to each other
//!
//! - [`frame`]: how messages are cut on the byte channel between a host and a micro-VM.
//! - [`guest`]: the messages on that channel.
//! - [`inside`]: what the programs inside that micro-VM say to each other.
//! - [`owner`]: what an owner's device and the pal say inside the encrypted channel the host relays.
//! - [`channel`]: that encrypted channel (Noise XX).
//! - [`api`]: the host's HTTP interface, and [`request`]: how each request is signed.
//! - [`price`] and [`receipt`]: what a host charges and the proof that it did.
//!
//! This crate opens no socket and reads no clock. Every byte from outside goes through a small total
//! parser with a size limit: bad input gives an error, never a panic.
//!
//! ```
//! use cloudpal_protocol::frame::{Decoder, encode};
//! use cloudpal_protocol::guest::ToHost;
//!
//! let mut decoder = Decoder::default();
//! decoder.extend(b"noise left over from before a reconnect");
//! decoder.extend(&encode(&ToHost::Quiesced)?);
//! assert_eq!(decoder.pop::<ToHost>(), Some(Ok(ToHost::Quiesced)));
//! assert!(decoder.pop::<ToHost>().is_none());
//! # Ok::<(), cloudpal_protocol::frame::EncodeError>(())
//! ```

pub mod api;
pub mod channel;
pub mod frame;
pub mod guest;
pub mod inside;
pub mod owner;
pub mod price;
pub mod receipt;
pub mod request;

/// The version of every exchange in this crate. Programs send the list they speak and use the
/// greatest common one; a peer with none in common is told so.
pub const VERSION: u16 = 1;

/// One locked ticket as its JSON text (at most [`MAX_TICKET_BYTES`]). Only purse and till look inside.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct TicketText(pub String);

/// No ticket is longer, in bytes.
pub const MAX_TICKET_BYTES: usize = 4096;
