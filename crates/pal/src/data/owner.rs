//! The encrypted channel to the owner's devices: bytes that the host relays and cannot read.

use super::network::Network;
use super::vault::Vault;
use cloudpal_core::AgreementSecret;
use cloudpal_protocol::channel::{Channel, ChannelError, PalHandshake};
use cloudpal_protocol::guest::ToHost;
use cloudpal_protocol::inside::{Answer, DataStart, FromData, Question};
use cloudpal_protocol::owner::{OwnerRequest, PalReply, PalStatus};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Sessions at the same time; the one unused for longest makes room.
const SESSIONS: usize = 16;
/// A handshake's first message is an ephemeral key.
const FIRST_MESSAGE: usize = 32;

/// All owner sessions.
pub struct Owner {
    start: Arc<DataStart>,
    key: AgreementSecret,
    network: Arc<Network>,
    vault: Arc<Vault>,
    to_init: mpsc::Sender<FromData>,
    sessions: Sessions<Session>,
}

enum Session {
    Greeted(Box<PalHandshake>),
    Stands(Box<Channel>),
}

/// The message does not belong to its session, or the other end is not the owner.
struct Refused;

impl From<ChannelError> for Refused {
    fn from(_: ChannelError) -> Self {
        Refused
    }
}

/// Sessions by number, the latest used last.
struct Sessions<T>(VecDeque<(u64, T)>);

impl<T> Sessions<T> {
    fn take(&mut self, number: u64) -> Option<T> {
        let at = self.0.iter().position(|(other, _)| *other == number)?;
        self.0.remove(at).map(|(_, session)| session)
    }

    fn put(&mut self, number: u64, session: T) {
        if self.0.len() == SESSIONS {
            self.0.pop_front();
        }
        self.0.push_back((number, session));
    }
}

impl Owner {
    /// Answers as the pal in `start`.
    pub fn new(
        start: Arc<DataStart>,
        network: Arc<Network>,
        vault: Arc<Vault>,
        to_init: mpsc::Sender<FromData>,
    ) -> Self {
        let key = AgreementSecret::from_secret(&start.channel);
        Owner { start, key, network, vault, to_init, sessions: Sessions(VecDeque::new()) }
    }

    /// Takes messages, one after the other.
    pub async fn serve(mut self, mut messages: mpsc::Receiver<(u64, Vec<u8>)>) {
        while let Some((session, message)) = messages.recv().await {
            let locked = match self.step(session, &message).await {
                Ok((answer, locked)) => {
                    self.reply(session, answer).await;
                    locked
                }
                // Empty: refused and forgotten.
                Err(_) => {
                    self.reply(session, Vec::new()).await;
                    false
                }
            };
            if locked {
                self.vault.end();
            }
        }
    }

    async fn reply(&self, session: u64, message: Vec<u8>) {
        let _ = self.to_init.send(FromData::Host(ToHost::Relay { session, message })).await;
    }

    /// The answer to one message of a session; also whether the disk was locked by it. A session that is
    /// refused is not put back.
    async fn step(&mut self, number: u64, message: &[u8]) -> Result<(Vec<u8>, bool), Refused> {
        match self.sessions.take(number) {
            // Noise would take the start of any message for a first one; ours carry nothing more.
            None if message.len() != FIRST_MESSAGE => Err(Refused),
            None => {
                let (handshake, answer) =
                    PalHandshake::answer(self.start.pal, &self.key, self.start.owner_unlock, message)?;
                self.sessions.put(number, Session::Greeted(Box::new(handshake)));
                Ok((answer, false))
            }
            Some(Session::Greeted(handshake)) => {
                let mut channel = handshake.finish(message)?;
                let greeting = channel.seal(&PalReply::Done)?;
                self.sessions.put(number, Session::Stands(Box::new(channel)));
                Ok((greeting, false))
            }
            Some(Session::Stands(mut channel)) => {
                let request = channel.open(message)?;
                let (reply, locked) = self.handle(request).await;
                let answer = channel.seal(&reply)?;
                self.sessions.put(number, Session::Stands(channel));
                Ok((answer, locked))
            }
        }
    }

    /// Carries out a request; also whether the disk was locked by it.
    async fn handle(&self, request: OwnerRequest) -> (PalReply, bool) {
        let question = match request {
            OwnerRequest::Status => Question::Status,
            OwnerRequest::SetRoster(roster) => Question::SetRoster(roster),
            OwnerRequest::AddTickets(tickets) => Question::AddTickets(tickets),
            OwnerRequest::TakeTickets { limit } => Question::TakeTickets(limit),
            OwnerRequest::Unlock(key) => return (said(self.vault.unlock(self.start.pal, key).await), false),
            OwnerRequest::Lock => {
                let result = self.vault.lock().await;
                let locked = result.is_ok();
                return (said(result), locked);
            }
        };
        (self.translate(self.network.ask(question).await), false)
    }

    fn translate(&self, answer: Answer) -> PalReply {
        match answer {
            Answer::Done => PalReply::Done,
            Answer::Refused(why) => PalReply::Refused(why),
            Answer::Tickets(tickets) => PalReply::Tickets(tickets),
            Answer::Status(status) => PalReply::Status(Box::new(PalStatus {
                name: self.start.name.clone(),
                keys: self.start.keys,
                data: self.vault.state(),
                roster_version: status.roster_version,
                overlay_v4: self.start.overlay_v4,
                overlay_v6: self.start.overlay_v6,
                held_cpm: status.held_cpm,
                account: status.account,
                woke: status.woke,
                generation: status.generation,
            })),
            Answer::Echo(_) => PalReply::Refused("the pal answered another question; try again".to_owned()),
        }
    }
}

fn said<E: std::error::Error>(result: Result<(), E>) -> PalReply {
    match result {
        Ok(()) => PalReply::Done,
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            PalReply::Refused(format!("{error}{cause}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_unused_for_longest_makes_room() {
        let mut sessions = Sessions(VecDeque::new());
        for number in 0..SESSIONS as u64 {
            sessions.put(number, number);
        }
        let first = sessions.take(0).unwrap();
        sessions.put(0, first);
        sessions.put(99, 99);
        assert_eq!(sessions.take(1), None, "number 1 was unused for longest");
        assert_eq!((sessions.take(0), sessions.take(99)), (Some(0), Some(99)));
    }
}
