//! A session with the pal itself, through the host and unreadable to it.

use crate::failure::Exit;
use crate::host::{HostError, PalAt};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cloudpal_core::{AgreementKey, AgreementSecret, Secret, SignedBytes};
use cloudpal_protocol::TicketText;
use cloudpal_protocol::api::Relay;
use cloudpal_protocol::channel::{Channel, ChannelError, OwnerHandshake};
use cloudpal_protocol::owner::{DataKey, OwnerRequest, PalReply, PalStatus};

/// One message holds 65,000 bytes of plain text; the rest is room for the encoding.
const MAX_TICKETS_BYTES: usize = 60_000;

/// Why the pal did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The host did not pass it on.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The encrypted channel does not hold.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// What the host passed on is not a message.
    #[error("the host passed on something that is not a message of the pal; run the same command again")]
    Encoding(#[from] base64::DecodeError),
    /// The pal closed the session.
    #[error("the pal closed the session; run the same command again")]
    Closed,
    /// The pal says no.
    #[error("the pal refused: {0}")]
    Refused(String),
    /// An answer to another question.
    #[error("the pal answered something else than was asked; update the older program")]
    Answer,
}

impl SessionError {
    /// The exit code it leads to.
    pub fn exit(&self) -> Exit {
        match self {
            SessionError::Host(error) => error.exit(),
            SessionError::Channel(ChannelError::WrongPeer { .. }) | SessionError::Refused(_) => Exit::Refused,
            SessionError::Channel(_) | SessionError::Answer | SessionError::Encoding(_) => Exit::Failed,
            SessionError::Closed => Exit::Unreachable,
        }
    }
}

/// A session that stands.
pub struct Session<'a> {
    pal: &'a PalAt,
    id: Option<u64>,
    channel: Channel,
    peer: AgreementKey,
}

impl<'a> Session<'a> {
    /// Shakes hands. `pinned` is the only key the pal may prove; without one, whoever uses the session
    /// has to judge [`Session::peer`] before trusting it.
    pub fn open(
        pal: &'a PalAt,
        owner: &AgreementSecret,
        pinned: Option<AgreementKey>,
    ) -> Result<Self, SessionError> {
        let (handshake, first) = OwnerHandshake::start(pal.id(), owner)?;
        let (id, answer) = exchange(pal, None, &first)?;
        if answer.is_empty() {
            return Err(SessionError::Closed);
        }
        let (mut channel, peer, last) = handshake.finish(&answer, pinned)?;
        let (id, greeting) = exchange(pal, id, &last)?;
        if greeting.is_empty() {
            return Err(SessionError::Closed);
        }
        match channel.open(&greeting)? {
            PalReply::Done => Ok(Session { pal, id, channel, peer }),
            _ => Err(SessionError::Answer),
        }
    }

    /// The key that the pal proved to hold.
    pub fn peer(&self) -> AgreementKey {
        self.peer
    }

    /// How are things?
    pub fn status(&mut self) -> Result<PalStatus, SessionError> {
        match self.ask(&OwnerRequest::Status)? {
            PalReply::Status(status) => Ok(*status),
            _ => Err(SessionError::Answer),
        }
    }

    /// Opens the data disk.
    pub fn unlock(&mut self, key: Secret<64>) -> Result<(), SessionError> {
        self.order(&OwnerRequest::Unlock(DataKey(key)))
    }

    /// Closes the data disk.
    pub fn lock(&mut self) -> Result<(), SessionError> {
        self.order(&OwnerRequest::Lock)
    }

    /// Says which devices may join.
    pub fn set_roster(&mut self, roster: SignedBytes) -> Result<(), SessionError> {
        self.order(&OwnerRequest::SetRoster(roster))
    }

    /// Hands tickets over, as many messages as it takes.
    pub fn add_tickets(&mut self, tickets: &[TicketText]) -> Result<(), SessionError> {
        for step in steps_of(tickets, MAX_TICKETS_BYTES) {
            self.order(&OwnerRequest::AddTickets(step.to_vec()))?;
        }
        Ok(())
    }

    /// Takes back tickets that were not released; empty when there are none left.
    pub fn take_tickets(&mut self, limit: u32) -> Result<Vec<TicketText>, SessionError> {
        match self.ask(&OwnerRequest::TakeTickets { limit })? {
            PalReply::Tickets(tickets) => Ok(tickets),
            _ => Err(SessionError::Answer),
        }
    }

    fn order(&mut self, request: &OwnerRequest) -> Result<(), SessionError> {
        match self.ask(request)? {
            PalReply::Done => Ok(()),
            _ => Err(SessionError::Answer),
        }
    }

    fn ask(&mut self, request: &OwnerRequest) -> Result<PalReply, SessionError> {
        let sealed = self.channel.seal(request)?;
        let (_, answer) = exchange(self.pal, self.id, &sealed)?;
        if answer.is_empty() {
            return Err(SessionError::Closed);
        }
        match self.channel.open(&answer)? {
            PalReply::Refused(reason) => Err(SessionError::Refused(reason)),
            reply => Ok(reply),
        }
    }
}

fn exchange(
    pal: &PalAt,
    session: Option<u64>,
    message: &[u8],
) -> Result<(Option<u64>, Vec<u8>), SessionError> {
    let answer = pal.relay(&Relay { session, message: STANDARD.encode(message) })?;
    Ok((answer.session.or(session), STANDARD.decode(answer.message)?))
}

/// Cuts tickets into runs of at most `limit` bytes, in order.
pub fn steps_of(tickets: &[TicketText], limit: usize) -> impl Iterator<Item = &[TicketText]> {
    let mut rest = tickets;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        // Each text is preceded by its length.
        let fit = rest.iter().take_while(|ticket| {
            bytes += ticket.0.len() + 8;
            bytes <= limit
        });
        let (step, after) = rest.split_at(fit.count().max(1).min(rest.len()));
        rest = after;
        (!step.is_empty()).then_some(step)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_hold_everything_in_order_and_fit() {
        let tickets: Vec<_> =
            (0..50).map(|n| TicketText(format!("{n:0width$}", width = 1 + n * 7))).collect();
        for limit in [1, 100, 1000, 100_000] {
            let steps: Vec<_> = steps_of(&tickets, limit).collect();
            assert_eq!(steps.concat(), tickets, "limit {limit}");
            for step in steps {
                let bytes: usize = step.iter().map(|ticket| ticket.0.len() + 8).sum();
                assert!(bytes <= limit || step.len() == 1, "limit {limit}");
            }
        }
        assert_eq!(steps_of(&[], 10).count(), 0);
    }
}
