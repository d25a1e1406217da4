//! Userspace WireGuard and TCP.
