//! The host's side, as root, in namespaces of its own.

#![allow(clippy::unwrap_used)] // Clippy knows tests by their attribute, not what they call.

mod firewall;
mod ring;
mod stage;
mod switch;
