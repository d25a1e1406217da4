//! The encrypted channel between an owner's device and its pal, relayed by the host as opaque bytes:
//! `Noise_XX_25519_ChaChaPoly_BLAKE2s` (Noise revision 34) with prologue `"cloudpal owner 1" || pal id`.
//!
//! The owner speaks first, and every message has one answer: the pal answers the handshake's last message
//! with a sealed [`crate::owner::PalReply::Done`]. The pal accepts only the owner's static key named in its boot record; the
//! owner's device accepts only the pal's key that it pinned, or pins the first it sees.
//! Ephemeral keys come from the operating system's generator inside `snow`.

use cloudpal_core::{AgreementKey, AgreementSecret, PalId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use snow::{Builder, HandshakeState, TransportState};
use zeroize::Zeroizing;

const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_BLAKE2s";

/// No message is longer, in bytes (Noise revision 34, section 3).
pub const MAX_MESSAGE: usize = 65_535;

/// Why a message was not accepted; the session is over.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Not a message of this session.
    #[error("the message does not belong to this session; start again")]
    Noise(#[from] snow::Error),
    /// The other end has another key than it should.
    #[error("the other end proved key {found}, but {expected} was expected; do not trust this connection")]
    WrongPeer {
        /// The pinned key.
        expected: AgreementKey,
        /// The key it proved to hold.
        found: AgreementKey,
    },
    /// The other end sent something that this version does not know.
    #[error("the message cannot be read; update the older program")]
    Decode(#[source] postcard::Error),
    /// Something to send does not fit one message.
    #[error("the message has {0} bytes; one message holds at most 65,000")]
    TooLarge(usize),
}

fn builder<'a>(prologue: &'a [u8], key: &'a AgreementSecret) -> Result<Builder<'a>, snow::Error> {
    let params = PATTERN.parse()?;
    Builder::new(params).prologue(prologue)?.local_private_key(key.expose())
}

fn prologue(pal: PalId) -> Vec<u8> {
    [b"cloudpal owner 1".as_slice(), pal.as_bytes()].concat()
}

fn remote_key(handshake: &HandshakeState) -> Option<AgreementKey> {
    handshake.get_remote_static()?.try_into().ok().map(AgreementKey::from_bytes)
}

/// The owner's side until the channel stands.
pub struct OwnerHandshake(HandshakeState);

impl OwnerHandshake {
    /// Starts a session; the bytes are the first message.
    pub fn start(pal: PalId, owner: &AgreementSecret) -> Result<(Self, Vec<u8>), ChannelError> {
        let mut state = builder(&prologue(pal), owner)?.build_initiator()?;
        let first = write_handshake(&mut state)?;
        Ok((OwnerHandshake(state), first))
    }

    /// Takes the pal's answer, checks its key against the pinned one, and gives the channel, the pal's
    /// key and the handshake's last message. Send that last message before any other.
    pub fn finish(
        mut self,
        answer: &[u8],
        pinned: Option<AgreementKey>,
    ) -> Result<(Channel, AgreementKey, Vec<u8>), ChannelError> {
        self.0.read_message(answer, &mut [0; 1024])?;
        let found = remote_key(&self.0).ok_or(snow::Error::Input)?;
        if let Some(expected) = pinned.filter(|expected| *expected != found) {
            return Err(ChannelError::WrongPeer { expected, found });
        }
        let last = write_handshake(&mut self.0)?;
        Ok((Channel(self.0.into_transport_mode()?), found, last))
    }
}

/// The pal's side until the channel stands.
pub struct PalHandshake {
    state: HandshakeState,
    owner: AgreementKey,
}

impl PalHandshake {
    /// Takes an owner's first message; the bytes are the answer.
    pub fn answer(
        pal: PalId,
        key: &AgreementSecret,
        owner: AgreementKey,
        first: &[u8],
    ) -> Result<(Self, Vec<u8>), ChannelError> {
        let mut state = builder(&prologue(pal), key)?.build_responder()?;
        state.read_message(first, &mut [0; 1024])?;
        let answer = write_handshake(&mut state)?;
        Ok((PalHandshake { state, owner }, answer))
    }

    /// Takes the handshake's last message and checks that the other end is the owner.
    pub fn finish(mut self, last: &[u8]) -> Result<Channel, ChannelError> {
        self.state.read_message(last, &mut [0; 1024])?;
        let found = remote_key(&self.state).ok_or(snow::Error::Input)?;
        if found != self.owner {
            return Err(ChannelError::WrongPeer { expected: self.owner, found });
        }
        Ok(Channel(self.state.into_transport_mode()?))
    }
}

fn write_handshake(state: &mut HandshakeState) -> Result<Vec<u8>, ChannelError> {
    let mut message = vec![0; 1024];
    let size = state.write_message(&[], &mut message)?;
    message.truncate(size);
    Ok(message)
}

/// An encrypted channel that stands.
pub struct Channel(TransportState);

impl Channel {
    /// Encrypts one message.
    pub fn seal<T: Serialize>(&mut self, message: &T) -> Result<Vec<u8>, ChannelError> {
        let plain = Zeroizing::new(postcard::to_stdvec(message).map_err(ChannelError::Decode)?);
        if plain.len() > 65_000 {
            return Err(ChannelError::TooLarge(plain.len()));
        }
        let mut sealed = vec![0; plain.len() + 16];
        let size = self.0.write_message(&plain, &mut sealed)?;
        sealed.truncate(size);
        Ok(sealed)
    }

    /// Decrypts one message.
    pub fn open<T: DeserializeOwned>(&mut self, sealed: &[u8]) -> Result<T, ChannelError> {
        let mut plain = Zeroizing::new(vec![0; sealed.len().min(MAX_MESSAGE)]);
        let size = self.0.read_message(sealed, &mut plain)?;
        postcard::from_bytes(&plain[..size]).map_err(ChannelError::Decode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::{DataKey, OwnerRequest};
    use cloudpal_core::Secret;

    fn key(byte: u8) -> AgreementSecret {
        AgreementSecret::from_secret(&Secret::new([byte; 32]))
    }

    const PAL: PalId = PalId::from_random([9; 16]);

    #[test]
    fn carries_a_data_key_to_the_pinned_pal() {
        let (owner, first) = OwnerHandshake::start(PAL, &key(1)).unwrap();
        let (pal, answer) = PalHandshake::answer(PAL, &key(2), key(1).public(), &first).unwrap();
        let (mut owner, found, last) = owner.finish(&answer, Some(key(2).public())).unwrap();
        assert_eq!(found, key(2).public());
        let mut pal = pal.finish(&last).unwrap();
        let sealed = owner.seal(&OwnerRequest::Unlock(DataKey(Secret::new([5; 64])))).unwrap();
        match pal.open(&sealed).unwrap() {
            OwnerRequest::Unlock(DataKey(secret)) => assert_eq!(secret, Secret::new([5; 64])),
            other => panic!("{other:?}"),
        }
        assert!(pal.open::<OwnerRequest>(&sealed).is_err(), "a replay is refused");
    }

    #[test]
    fn neither_side_takes_another_key() {
        let (owner, first) = OwnerHandshake::start(PAL, &key(1)).unwrap();
        let (_, answer) = PalHandshake::answer(PAL, &key(3), key(1).public(), &first).unwrap();
        let refused = owner.finish(&answer, Some(key(2).public())).err().unwrap();
        assert!(matches!(refused, ChannelError::WrongPeer { .. }));

        let (thief, first) = OwnerHandshake::start(PAL, &key(4)).unwrap();
        let (pal, answer) = PalHandshake::answer(PAL, &key(2), key(1).public(), &first).unwrap();
        let (_, _, last) = thief.finish(&answer, None).unwrap();
        assert!(matches!(pal.finish(&last), Err(ChannelError::WrongPeer { .. })));
    }

    #[test]
    fn another_pals_session_does_not_fit() {
        let (owner, first) = OwnerHandshake::start(PalId::from_random([8; 16]), &key(1)).unwrap();
        let (_, answer) = PalHandshake::answer(PAL, &key(2), key(1).public(), &first).unwrap();
        assert!(owner.finish(&answer, None).is_err());
    }
}
