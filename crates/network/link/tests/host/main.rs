//! The host's side, as root, in namespaces of its own.

mod firewall;
mod ring;
mod stage;
mod switch;
