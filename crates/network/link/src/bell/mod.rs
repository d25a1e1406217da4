//! The doorbell: reads what comes for a sleeping pal, has it judged, holds it, and hands it over.

mod barrier;
mod doorbell;
mod packet;
pub(crate) mod tun;
mod urgent;
mod wire;

pub use barrier::Barrier;
pub use doorbell::{BellError, Doorbell, HandOver, Heard};
pub use packet::Packet;
