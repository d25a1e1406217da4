use crate::hash;

/// Which end of a stream: the one that connected, or the one that listened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Began the Noise handshake.
    Initiator,
    /// Answered it.
    Responder,
}

impl Role {
    /// The other end.
    pub const fn other(self) -> Role {
        match self {
            Role::Initiator => Role::Responder,
            Role::Responder => Role::Initiator,
        }
    }
}

/// What the end `role` of a stream says to show that it knows the log's `key`. It is bound to the hash of the
/// stream's handshake, so a recording of it is of no use on another stream.
pub fn capability(role: Role, key: &[u8; 32], handshake_hash: &[u8; 64]) -> [u8; 32] {
    let namespace = match role {
        Role::Initiator => hash::REPLICATE_INITIATOR,
        Role::Responder => hash::REPLICATE_RESPONDER,
    };
    hash::capability(&namespace, key, handshake_hash)
}
