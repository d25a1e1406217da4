//! What the API asks, and the owner sessions it relays.

use super::{Ask, Reply, Worker};
use crate::lifecycle::Event;
use cloudpal_protocol::api::{ApiError, ErrorCode, PalInfo, PalState};
use cloudpal_protocol::guest::ToGuest;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The pal answers a relayed message within this time or not at all. Making the data disk at the
/// first unlock takes longest, on a machine without KVM above all.
const ANSWER: Duration = Duration::from_secs(60);

/// Owner sessions with a message under way.
#[derive(Default)]
pub(crate) struct Sessions {
    last: u64,
    waiting: BTreeMap<u64, Waiting>,
}

/// A pal that has just woken takes no session yet; an opening message is offered again for this long.
const READY: Duration = Duration::from_secs(10);

/// It is offered again after this long.
const AGAIN: Duration = Duration::from_millis(200);

/// A message under way.
struct Waiting {
    since: Instant,
    reply: Reply<(u64, Vec<u8>)>,
    /// The message, if it opens the session: until it is taken nothing of it can be used up.
    opening: Option<Vec<u8>>,
    /// When to offer it again.
    again: Option<Instant>,
}

fn conflict(message: &str) -> ApiError {
    ApiError { code: ErrorCode::Conflict, message: message.into() }
}

impl Sessions {
    fn open(&mut self) -> u64 {
        // Numbers go on after a restart of the agent, so that an old session is not taken for a new one.
        self.last = (self.last + 1).max(crate::time::unix_ms());
        self.last
    }

    pub(crate) fn answer(&mut self, session: u64, message: Vec<u8>) {
        let Some(mut waiting) = self.waiting.remove(&session) else { return };
        let not_ready = message.is_empty() && waiting.opening.is_some();
        if not_ready && waiting.since.elapsed() < READY {
            waiting.again = Some(Instant::now() + AGAIN);
            self.waiting.insert(session, waiting);
            return;
        }
        let answer = match message.is_empty() {
            false => Ok((session, message)),
            true => Err(conflict("the pal does not know this session; start again")),
        };
        // Whoever asked may have gone away meanwhile.
        let _ = waiting.reply.send(answer);
    }

    /// Opening messages that are to be offered again now.
    fn due(&mut self) -> Vec<(u64, Vec<u8>)> {
        let now = Instant::now();
        let due = |waiting: &mut Waiting| waiting.again.take_if(|at| *at <= now).is_some();
        let waiting = self.waiting.iter_mut().filter_map(|(session, waiting)| {
            due(waiting).then(|| waiting.opening.clone().map(|message| (*session, message))).flatten()
        });
        waiting.collect()
    }

    pub(crate) fn expire(&mut self) {
        let late: Vec<u64> = (self.waiting.iter())
            .filter(|(_, waiting)| waiting.since.elapsed() > ANSWER)
            .map(|(session, _)| *session)
            .collect();
        for session in late {
            if let Some(Waiting { reply, .. }) = self.waiting.remove(&session) {
                let message = "the pal does not answer; try again in a moment".into();
                let _ = reply.send(Err(ApiError { code: ErrorCode::Unreachable, message }));
            }
        }
    }
}

impl Worker {
    pub(super) fn asked(&mut self, ask: Ask) {
        match ask {
            Ask::Sleep(reason, quiescing, reply) => {
                self.quiescing = quiescing;
                self.waiting_asleep.push(reply);
                self.event(Event::SleepAsked(reason));
                self.answer_if(&[PalState::Asleep, PalState::Unpaid, PalState::Failed]);
            }
            Ask::Wake(reason, reply) => {
                self.waiting_awake.push(reply);
                self.rang_at.get_or_insert_with(Instant::now);
                self.event(Event::WakeAsked(reason));
                self.forget_vain_ring();
                self.answer_if(&[PalState::Awake, PalState::Unpaid, PalState::Failed]);
            }
            Ask::AddCredit(tickets, reply) => {
                let answer = self.add_credit(&tickets);
                let _ = reply.send(answer);
            }
            Ask::Relay { session, message, reply } => self.relay(session, message, reply),
            Ask::Delete(reply) => {
                self.event(Event::DeleteAsked);
                let _ = reply.send(Ok(self.current_info()));
            }
        }
    }

    /// Answers at once when the pal is already where it was asked to be.
    fn answer_if(&mut self, states: &[PalState]) {
        if states.contains(&self.life.state()) {
            self.answer_waiting();
        }
    }

    /// Offers opening messages again to a pal that was not ready for them.
    pub(super) fn offer_again(&mut self) {
        for (session, message) in self.sessions.due() {
            self.tell(&ToGuest::Relay { session, message });
        }
    }

    fn relay(&mut self, session: Option<u64>, message: Vec<u8>, reply: Reply<(u64, Vec<u8>)>) {
        if self.life.state() != PalState::Awake {
            let _ = reply.send(Err(conflict("the pal is not awake; wake it first (`cloudpal wake`)")));
            return;
        }
        let opening = session.is_none().then(|| message.clone());
        let session = session.unwrap_or_else(|| self.sessions.open());
        let waiting = Waiting { since: Instant::now(), reply, opening, again: None };
        self.sessions.waiting.insert(session, waiting);
        if !self.tell(&ToGuest::Relay { session, message }) {
            self.sessions.answer(session, vec![]);
        }
    }

    fn add_credit(&mut self, tickets: &[cloudpal_protocol::TicketText]) -> Result<PalInfo, ApiError> {
        self.accept(tickets)
            .map_err(|error| ApiError { code: ErrorCode::Refused, message: error.to_string() })?;
        self.credit_came();
        Ok(self.current_info())
    }
}
