//! mac1, mac2 and cookie replies, as in section 5.4.4 and 5.4.7 of the WireGuard paper.

use super::packet::{Initiation, Kind, parse};
use blake2::digest::consts::U16;
use blake2::digest::{FixedOutput, Mac, Update};
use blake2::{Blake2s256, Blake2sMac, Digest};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use cloudpal_core::{AgreementKey, Secret};
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq;

/// A cookie is made from a secret that changes this often, milliseconds; the last one still counts.
const COOKIE_LIFE_MS: u64 = 120_000;

/// Whether a datagram is an initiation that was made for this public key. Knowing the key is enough
/// to make one.
pub fn mac1_fits(responder: &AgreementKey, datagram: &[u8]) -> bool {
    match parse(datagram) {
        Kind::Initiation(initiation) => Macs::new(responder, Secret::new([0; 32])).mac1_fits(&initiation),
        _ => false,
    }
}

/// The keys by which initiations for one pal are judged.
pub(crate) struct Macs {
    mac1_key: [u8; 32],
    cookie_key: [u8; 32],
    secret: Secret<32>,
    replies: u64,
}

impl Macs {
    pub(crate) fn new(responder: &AgreementKey, secret: Secret<32>) -> Self {
        let key = |label: &[u8]| -> [u8; 32] {
            Blake2s256::new().chain_update(label).chain_update(responder.as_bytes()).finalize().into()
        };
        Macs { mac1_key: key(b"mac1----"), cookie_key: key(b"cookie--"), secret, replies: 0 }
    }

    pub(crate) fn mac1_fits(&self, initiation: &Initiation<'_>) -> bool {
        mac(&self.mac1_key, &[initiation.before_mac1()]).ct_eq(&initiation.mac1()).into()
    }

    /// Whether the sender received, at `source`, a cookie that was made lately.
    pub(crate) fn mac2_fits(&self, initiation: &Initiation<'_>, source: SocketAddr, now_ms: u64) -> bool {
        let epoch = now_ms / COOKIE_LIFE_MS;
        let fits =
            |epoch| mac(&self.cookie(source, epoch), &[initiation.before_mac2()]).ct_eq(&initiation.mac2());
        (fits(epoch) | fits(epoch.wrapping_sub(1))).into()
    }

    /// The cookie reply to an initiation.
    pub(crate) fn reply(&mut self, to: &Initiation<'_>, source: SocketAddr, now_ms: u64) -> [u8; 64] {
        self.replies = self.replies.wrapping_add(1);
        let cookie = self.cookie(source, now_ms / COOKIE_LIFE_MS);
        // 24 bytes that never come twice; the key is public, so nothing but that is asked of them.
        let number = [now_ms.to_le_bytes(), self.replies.to_le_bytes()].concat();
        let mut nonce = [0; 24];
        nonce[..16].copy_from_slice(&mac(self.secret.expose(), &[b"nonce 1", &number, &to.mac1()]));
        nonce[16..].copy_from_slice(&mac(self.secret.expose(), &[b"nonce 2", &number, &to.mac1()])[..8]);

        let mut reply = [0; 64];
        reply[0] = 3;
        reply[4..8].copy_from_slice(&to.sender().to_le_bytes());
        reply[8..32].copy_from_slice(&nonce);
        let payload = Payload { msg: &cookie, aad: &to.mac1() };
        let sealed = XChaCha20Poly1305::new(&self.cookie_key.into())
            .encrypt(XNonce::from_slice(&nonce), payload)
            .expect("16 bytes can always be encrypted");
        reply[32..].copy_from_slice(&sealed);
        reply
    }

    fn cookie(&self, source: SocketAddr, epoch: u64) -> [u8; 16] {
        let address = match source.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let parts: [&[u8]; 4] = [b"cookie", &epoch.to_le_bytes(), &address, &source.port().to_le_bytes()];
        mac(self.secret.expose(), &parts)
    }
}

/// Keyed BLAKE2s with 16 bytes of output.
fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = <Blake2sMac<U16> as Mac>::new_from_slice(key).expect("a key has at most 32 bytes");
    for part in parts {
        Update::update(&mut mac, part);
    }
    mac.finalize_fixed().into()
}
