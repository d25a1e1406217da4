/// What kind of WireGuard message a datagram is, by its first bytes and length alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Type 1, 148 bytes: somebody wants to begin a session.
    Initiation(Initiation<'a>),
    /// Type 2, 92 bytes.
    Response,
    /// Type 3, 64 bytes: a cookie challenge.
    Cookie,
    /// Type 4, more than 32 bytes: somebody has something to say.
    Data {
        /// The session, as the receiver numbers it.
        receiver: u32,
    },
    /// Type 4 of exactly 32 bytes: nothing to say.
    Keepalive {
        /// The session, as the receiver numbers it.
        receiver: u32,
    },
    /// Anything else.
    Junk,
}

/// A datagram of an initiation's type and length; nothing in it has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Initiation<'a>(&'a [u8; 148]);

impl Initiation<'_> {
    /// The session, as the sender numbers it.
    pub fn sender(&self) -> u32 {
        u32::from_le_bytes([self.0[4], self.0[5], self.0[6], self.0[7]])
    }

    /// The first half of the sender's one-time key: every initiation has another.
    pub(crate) fn one_time(&self) -> [u8; 16] {
        self.part(8)
    }

    /// What mac1 is over.
    pub(crate) fn before_mac1(&self) -> &[u8] {
        &self.0[..116]
    }

    /// What mac2 is over.
    pub(crate) fn before_mac2(&self) -> &[u8] {
        &self.0[..132]
    }

    pub(crate) fn mac1(&self) -> [u8; 16] {
        self.part(116)
    }

    pub(crate) fn mac2(&self) -> [u8; 16] {
        self.part(132)
    }

    fn part(&self, from: usize) -> [u8; 16] {
        let mut part = [0; 16];
        part.copy_from_slice(&self.0[from..from + 16]);
        part
    }
}

/// Tells what kind of message a datagram (UDP payload) is. Total: any bytes have an answer.
pub fn parse(datagram: &[u8]) -> Kind<'_> {
    let Some((&[kind, 0, 0, 0], rest)) = datagram.split_first_chunk::<4>() else { return Kind::Junk };
    match (kind, datagram.len()) {
        (1, 148) => datagram.try_into().map_or(Kind::Junk, |bytes| Kind::Initiation(Initiation(bytes))),
        (2, 92) => Kind::Response,
        (3, 64) => Kind::Cookie,
        (4, 32..) => {
            let receiver = rest.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            if datagram.len() == 32 { Kind::Keepalive { receiver } } else { Kind::Data { receiver } }
        }
        _ => Kind::Junk,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_decide() {
        let of = |kind: u8, length: usize| {
            let mut bytes = vec![0; length];
            bytes[0] = kind;
            bytes[4..8].copy_from_slice(&[1, 2, 3, 4]);
            bytes
        };
        for length in 8..300 {
            assert_eq!(matches!(parse(&of(1, length)), Kind::Initiation(_)), length == 148);
            assert_eq!(parse(&of(2, length)) == Kind::Response, length == 92);
            assert_eq!(parse(&of(3, length)) == Kind::Cookie, length == 64);
            let receiver = 0x0403_0201;
            assert_eq!(parse(&of(4, length)) == Kind::Keepalive { receiver }, length == 32);
            assert_eq!(parse(&of(4, length)) == Kind::Data { receiver }, length > 32);
            assert_eq!(parse(&of(5, length)), Kind::Junk);
        }
        let mut reserved = of(1, 148);
        reserved[2] = 1;
        assert_eq!(parse(&reserved), Kind::Junk);
        assert_eq!(parse(&[]), Kind::Junk);
        assert_eq!(parse(&[4, 0, 0, 0]), Kind::Junk);
    }
}
