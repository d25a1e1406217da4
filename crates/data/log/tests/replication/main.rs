//! Logs that replicate over a simulated network: every run follows from its seed, which a failing one prints.

#![allow(clippy::unwrap_used)]

mod lie;
mod npm;
mod pair;
mod swarm;
mod world;
