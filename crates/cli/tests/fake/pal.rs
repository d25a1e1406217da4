use super::credit::worth;
use cloudpal_core::{AgreementSecret, PalId, Secret, SigningKey};
use cloudpal_plan::{Overlay, Roster};
use cloudpal_protocol::TicketText;
use cloudpal_protocol::api::{CreatePal, PalInfo, PalState};
use cloudpal_protocol::channel::{Channel, PalHandshake};
use cloudpal_protocol::guest::{Account, DataState, PalKeys, WakeReason};
use cloudpal_protocol::owner::{OwnerRequest, PalReply, PalStatus};
use std::collections::{BTreeMap, HashMap};

/// A pal and what its host knows of it.
pub struct FakePal {
    pub wish: CreatePal,
    pub info: PalInfo,
    /// Tickets the host has, by secret.
    pub host_has: BTreeMap<String, TicketText>,
    /// Tickets the pal has, by secret.
    pub pal_has: BTreeMap<String, TicketText>,
    pub roster: Option<Roster>,
    pub data_key: Option<Secret<64>>,
    pub unlocks: u64,
    secret: AgreementSecret,
    sessions: HashMap<u64, Talk>,
}

enum Talk {
    Shaking(Box<PalHandshake>),
    Standing(Channel),
}

fn secret_of(ticket: &TicketText) -> String {
    let json: serde_json::Value = serde_json::from_str(&ticket.0).unwrap();
    json["secret"].as_str().unwrap().to_owned()
}

impl FakePal {
    pub fn new(wish: CreatePal, key: u8) -> Self {
        let secret = AgreementSecret::from_secret(&Secret::new([key; 32]));
        let keys = PalKeys {
            channel: secret.public(),
            sign: SigningKey::from_secret(&Secret::new([key; 32])).public(),
            wireguard: AgreementSecret::from_secret(&Secret::new([key ^ 0x80; 32])).public(),
        };
        let info = PalInfo {
            id: wish.id,
            name: wish.name.clone(),
            state: PalState::Booting,
            since_unix_ms: 1,
            change: 1,
            keys: Some(keys),
            data: None,
            public_v4: [203, 0, 113, 7].into(),
            public_v6: None,
            endpoint: ([203, 0, 113, 7], 51820).into(),
            account: Account::default(),
            receipts: 0,
            acknowledged: 0,
            wakes: 0,
            last_wake: None,
            boots: 1,
            notice: None,
            memory_mib: 128,
        };
        let (host_has, pal_has) = Default::default();
        let (roster, data_key, unlocks, sessions) = (None, None, 0, HashMap::new());
        FakePal { wish, info, host_has, pal_has, roster, data_key, unlocks, secret, sessions }
    }

    pub fn keep(&mut self, tickets: &[TicketText]) {
        for ticket in tickets {
            assert!(!self.pal_has.contains_key(&secret_of(ticket)), "the host gets what the pal has already");
            self.host_has.insert(secret_of(ticket), ticket.clone());
        }
        self.info.account.paid = cloudpal_core::Milli::from_cpm(self.host_has.values().map(worth).sum());
    }

    pub fn held(&self) -> u64 {
        self.pal_has.values().map(worth).sum()
    }

    pub fn to(&mut self, state: PalState) {
        self.info.change += 1;
        self.info.state = state;
        match state {
            PalState::Awake => self.info.data = self.info.data.or(Some(DataState::Locked)),
            _ => {
                self.info.data = None;
                self.sessions.clear();
            }
        }
    }

    pub fn wake(&mut self) {
        self.to(PalState::Awake);
        self.info.wakes += 1;
        self.info.last_wake = Some(WakeReason::Owner);
    }

    /// What the pal answers; empty closes the session.
    pub fn hear(&mut self, session: u64, message: &[u8]) -> Vec<u8> {
        match self.sessions.remove(&session) {
            None => {
                let started =
                    PalHandshake::answer(self.wish.id, &self.secret, self.wish.owner_unlock, message);
                let Ok((shaking, answer)) = started else { return Vec::new() };
                self.sessions.insert(session, Talk::Shaking(Box::new(shaking)));
                answer
            }
            Some(Talk::Shaking(shaking)) => {
                let Ok(mut channel) = shaking.finish(message) else { return Vec::new() };
                let answer = channel.seal(&PalReply::Done).unwrap();
                self.sessions.insert(session, Talk::Standing(channel));
                answer
            }
            Some(Talk::Standing(mut channel)) => {
                let Ok(request) = channel.open::<OwnerRequest>(message) else { return Vec::new() };
                let answer = channel.seal(&self.answer(request)).unwrap();
                self.sessions.insert(session, Talk::Standing(channel));
                answer
            }
        }
    }

    fn answer(&mut self, request: OwnerRequest) -> PalReply {
        self.info.change += 1;
        match request {
            OwnerRequest::Status => PalReply::Status(Box::new(self.status())),
            OwnerRequest::Unlock(key) => {
                let first = self.data_key.get_or_insert(key.0.clone());
                if *first != key.0 {
                    return PalReply::Refused("this is not the key of the data disk".into());
                }
                self.unlocks += 1;
                self.info.data = Some(DataState::Unlocked);
                PalReply::Done
            }
            OwnerRequest::Lock => {
                self.info.data = Some(DataState::Locked);
                PalReply::Done
            }
            OwnerRequest::SetRoster(signed) => {
                let current = self.roster.as_ref().map_or(0, |roster| roster.version);
                match Roster::accept(signed, &self.wish.owner_sign, &Overlay::of(self.wish.id), current) {
                    Ok(roster) => self.roster = Some(roster),
                    Err(error) => return PalReply::Refused(error.to_string()),
                }
                PalReply::Done
            }
            OwnerRequest::AddTickets(tickets) => {
                for ticket in tickets {
                    assert!(
                        !self.host_has.contains_key(&secret_of(&ticket)),
                        "the pal gets what the host has already"
                    );
                    self.pal_has.insert(secret_of(&ticket), ticket);
                }
                PalReply::Done
            }
            OwnerRequest::TakeTickets { limit } => {
                let taken: Vec<_> = self.pal_has.keys().take(limit as usize).cloned().collect();
                PalReply::Tickets(taken.iter().filter_map(|secret| self.pal_has.remove(secret)).collect())
            }
        }
    }

    fn status(&self) -> PalStatus {
        let hub = Overlay::of(self.wish.id).hub();
        PalStatus {
            name: self.wish.name.clone(),
            keys: self.info.keys.unwrap(),
            data: self.info.data.unwrap(),
            roster_version: self.roster.as_ref().map_or(0, |roster| roster.version),
            overlay_v4: hub.v4,
            overlay_v6: hub.v6,
            held_cpm: self.held(),
            account: self.info.account,
            woke: self.info.last_wake,
            generation: 1,
        }
    }

    /// Another machine with another key answers from now on.
    pub fn change_secret(&mut self, key: u8) {
        self.secret = AgreementSecret::from_secret(&Secret::new([key; 32]));
    }

    pub fn id(&self) -> PalId {
        self.wish.id
    }
}
