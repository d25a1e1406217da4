//! A tunnel to a pal without root: WireGuard and TCP in userspace, reached through a port on the loopback.
//!
//! - [`core`]: datagrams in, datagrams out, byte streams on top. No sockets; TCP's time comes in as an
//!   argument. (WireGuard's own timers and random numbers are inside `gotatun`.)
//! - [`http`]: what of a browser's request has to be changed for a page that knows itself by its name.
//! - [`forward`]: the sockets around them.

pub mod core;
pub mod forward;
pub mod http;
mod peer;
