//! The messages of channel 0.

use super::ChannelId;
use super::state::Key;
use crate::codec::Write;

pub(super) const BATCH: u64 = 0;
pub(super) const OPEN: u64 = 1;
pub(super) const REJECT: u64 = 2;
pub(super) const CLOSE: u64 = 3;

pub(super) fn open(channel: ChannelId, key: &Key, handshake: &[u8]) -> Vec<u8> {
    let mut out = head(OPEN, channel.0);
    out.string(&key.protocol);
    match &key.id {
        // compact-encoding's optional buffer: no bytes are none.
        None => out.uint(0),
        Some(id) => out.buffer(id),
    }
    out.raw(handshake);
    out
}

pub(super) fn reject(remote: u32) -> Vec<u8> {
    head(REJECT, remote)
}

pub(super) fn close(channel: ChannelId) -> Vec<u8> {
    head(CLOSE, channel.0)
}

fn head(kind: u64, number: u32) -> Vec<u8> {
    let mut out = Vec::new();
    out.uint(0);
    out.uint(kind);
    out.uint(u64::from(number));
    out
}
