//! Driving QEMU: its command line and its machine protocol.

pub mod command;
pub mod qmp;
