use super::secretstream::{Direction, HEADER};
use crate::key::random_bytes;
use cloudpal_core::Secret;
use cloudpal_log::wire::Role;
use peeroxide_dht::noise::{Handshake, Keypair, NoiseError, keypair_from_seed};
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// Longest message of a Noise XX handshake without payloads, and of the header behind it.
const LONGEST: usize = 96;
const ID_HEADER: usize = 32 + HEADER;

/// Why two peers could not greet each other.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The stream broke or the peer was silent for too long.
    #[error("the peer did not finish the greeting")]
    Stream(#[from] io::Error),
    /// It is not speaking the protocol.
    #[error("the peer does not speak the protocol of hypercore")]
    Noise(#[source] NoiseError),
    /// A message of a length that none has.
    #[error("the peer sent {0} bytes where the greeting has no such message")]
    Length(usize),
    /// Its header names another stream.
    #[error("the peer's header is for another stream")]
    Header,
    /// It is not on the list.
    #[error("the peer is not on the list of those who may connect")]
    NotAllowed,
}

/// What a handshake gives.
pub(crate) struct Secured {
    pub send: Direction,
    pub receive: Direction,
    pub remote_key: [u8; 32],
    pub hash: [u8; 64],
}

/// The public half of a network key.
pub(crate) fn public_key(seed: &Secret<32>) -> [u8; 32] {
    keypair_from_seed(seed.expose()).public_key
}

/// Noise XX, then a header each way, as npm `@hyperswarm/secret-stream` does: each message behind its length in three
/// bytes. `admit` decides by the peer's static key before the last message.
pub(crate) fn handshake(
    stream: &mut TcpStream,
    role: Role,
    seed: &Secret<32>,
    admit: &dyn Fn(&[u8; 32]) -> bool,
) -> Result<Secured, HandshakeError> {
    let keys: Keypair = keypair_from_seed(seed.expose());
    let initiator = role == Role::Initiator;
    let mut noise = Handshake::new(initiator, keys);
    let mut ours = initiator;
    while !noise.complete() {
        if ours {
            write_message(stream, &noise.send().map_err(HandshakeError::Noise)?)?;
        } else {
            noise.recv(&read_message(stream)?).map_err(HandshakeError::Noise)?;
        }
        ours = !ours;
    }
    let result = noise.result().ok_or(HandshakeError::Header)?.clone();
    if !admit(&result.remote_public_key) {
        return Err(HandshakeError::NotAllowed);
    }
    let header = random_bytes::<HEADER>().map_err(io::Error::other)?;
    let id = stream_id(&result.handshake_hash, initiator);
    write_message(stream, &[&id[..], &header].concat())?;
    let theirs = read_message(stream)?;
    if theirs.len() != ID_HEADER || theirs[..32] != stream_id(&result.handshake_hash, !initiator) {
        return Err(HandshakeError::Header);
    }
    let mut their_header = [0; HEADER];
    their_header.copy_from_slice(&theirs[32..]);
    Ok(Secured {
        send: Direction::new(&result.tx, &header),
        receive: Direction::new(&result.rx, &their_header),
        remote_key: result.remote_public_key,
        hash: result.handshake_hash,
    })
}

/// The id of one side's stream: BLAKE2b-256 keyed by the handshake's hash over ns("hyperswarm/secret-stream", side),
/// 0 the initiator's and 1 the responder's.
fn stream_id(hash: &[u8; 64], initiator: bool) -> [u8; 32] {
    let mut params = blake2b_simd::Params::new();
    params.hash_length(32);
    let name = params.hash(b"hyperswarm/secret-stream");
    let namespace = params.hash(&[name.as_bytes(), &[u8::from(!initiator)]].concat());
    let mut id = [0; 32];
    id.copy_from_slice(params.key(hash).hash(namespace.as_bytes()).as_bytes());
    id
}

fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let len = (message.len() as u32).to_le_bytes();
    stream.write_all(&[&len[..3], message].concat())
}

fn read_message(stream: &mut TcpStream) -> Result<Vec<u8>, HandshakeError> {
    let mut head = [0; 4];
    stream.read_exact(&mut head[..3])?;
    let len = u32::from_le_bytes(head) as usize;
    if len > LONGEST {
        return Err(HandshakeError::Length(len));
    }
    let mut message = vec![0; len];
    stream.read_exact(&mut message)?;
    Ok(message)
}
