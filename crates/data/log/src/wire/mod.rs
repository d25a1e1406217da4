//! What two peers say to each other: frames, protomux, and the messages of `hypercore/alpha`.
//!
//! Every parser here is total: any bytes give a value or an error, and no memory is taken by a length that
//! was not checked. Blocks are not copied: they are slices of the frame that they came in.
//!
//! Facts are from npm hypercore 11.37.1 (`lib/messages.js`) and protomux 3.12.1 (`index.js`); 10.38.2 says the same.
//!
//! ```
//! use bytes::Bytes;
//! use cloudpal_log::wire::Message;
//!
//! let message = Message::NoData { request: 7, reason: 1 };
//! let mut bytes = Vec::new();
//! message.encode(&mut bytes);
//! assert_eq!(Message::decode(message.kind(), &Bytes::from(bytes))?, Some(message));
//! # Ok::<(), cloudpal_log::codec::CodecError>(())
//! ```

mod capability;
mod data;
mod frame;
mod handshake;
mod message;
mod mux;
mod request;

pub use capability::{Role, capability};
pub use data::Data;
pub use frame::{FrameError, Frames, MAX_FRAME};
pub use handshake::Handshake;
pub use message::{Message, Span, Sync};
pub use mux::{ChannelId, Limits, Mux, MuxError, MuxEvent, Opening};
pub use request::{INVALID_REQUEST, NO_REASON, NOT_AVAILABLE, Request};
