//! A pal that is up: keys, roster, hub and credit together.

use super::credit::Agreed;
use super::dns::Zone;
use super::hub::Hub;
use super::idle::Idle;
use super::services::Services;
use super::state::{Keys, State};
use cloudpal_core::{Milli, PublicKey, SignedBytes};
use cloudpal_plan::{Overlay, Roster};
use cloudpal_protocol::guest::{Account, BootRecord, PalKeys, ToHost, WakeReason};
use cloudpal_protocol::inside::{Answer, Ask, DataStart, NetworkStatus, Question, ToData};
use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tickets in one reply to the owner have to fit one message of the owner channel.
const REPLY_BYTES: usize = 60_000;

/// Everything the network half keeps in memory.
pub struct Pal {
    name: String,
    owner_sign: PublicKey,
    owner_unlock: cloudpal_core::AgreementKey,
    generation: u64,
    woke: Option<WakeReason>,
    account: Account,
    agreed: Agreed,
    overlay: Overlay,
    roster: Roster,
    keys: Keys,
    state: State,
    hub: Hub,
    idle: Idle,
    /// Down between quiesce and wake: then nobody can be idle.
    resting: bool,
}

/// An error with all its causes, as one line for the host's operator.
fn line(error: impl Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(&format!(": {error}"));
        cause = error.source();
    }
    line
}

fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Pal {
    /// Brings the network up by the boot record. The error is a line for the host.
    pub fn start(record: BootRecord, now_s: u64) -> Result<Self, String> {
        let agreed = Agreed::check(record.pal, record.host, record.prices).map_err(line)?;
        let state = State::open(&record.network_key).map_err(line)?;
        let (keys, overlay) = (state.keys(), Overlay::of(record.pal));
        // It was checked when it was stored; what no longer fits leaves an empty roster, not a dead pal.
        let stored = state.roster().cloned();
        let roster = stored
            .and_then(|signed| Roster::accept(signed, &record.owner_sign, &overlay, 0).ok())
            .unwrap_or_else(|| Roster::empty(&record.name));
        let hub = Hub::start(overlay, &keys, record.link.listen_port, &roster).map_err(line)?;
        Ok(Pal {
            name: record.name,
            owner_sign: record.owner_sign,
            owner_unlock: record.owner_unlock,
            generation: record.generation,
            woke: None,
            account: Account::default(),
            agreed,
            overlay,
            roster,
            keys,
            state,
            hub,
            idle: Idle::new(record.idle_s, now_s),
            resting: false,
        })
    }

    /// The public keys.
    pub fn keys(&self) -> PalKeys {
        self.keys.public()
    }

    /// What the resolver answers from.
    pub fn zone(&self) -> Zone {
        Zone { roster: self.roster.clone(), overlay: self.overlay }
    }

    /// What `cloudpald data` needs.
    pub fn data_start(&self) -> DataStart {
        let hub = self.overlay.hub();
        DataStart {
            pal: self.agreed.pal,
            name: self.name.clone(),
            owner_unlock: self.owner_unlock,
            channel: self.keys.channel.clone(),
            keys: self.keys(),
            overlay_v4: hub.v4,
            overlay_v6: hub.v6,
            prices: self.agreed.prices.clone(),
        }
    }

    /// Forgets every WireGuard session.
    pub fn quiesce(&mut self) -> Result<(), String> {
        self.resting = true;
        self.hub.quiesce().map_err(line)
    }

    /// Brings WireGuard back, silent.
    pub fn stand(&mut self) -> Result<(), String> {
        self.hub.stand().map_err(line)
    }

    /// Greets the devices that were connected when the pal went to sleep.
    pub fn greet(&mut self, now_s: u64) -> Result<(), String> {
        self.hub.greet(now_s).map_err(line)
    }

    /// WireGuard is to be up; [`Pal::greet`] soon.
    pub fn awake(&mut self, generation: u64, reason: Option<WakeReason>, now_s: u64) -> Result<(), String> {
        self.generation = generation;
        self.woke = reason.or(self.woke);
        self.resting = false;
        self.idle.restart(now_s);
        self.hub.stand().map_err(line)
    }

    /// Once a second. Gives the seconds without traffic when the host is to be told.
    pub fn tick(&mut self, now_s: u64) -> Result<Option<u32>, String> {
        if self.resting {
            return Ok(None);
        }
        self.hub.tick(now_s).map_err(line)?;
        let seen = self.hub.received().map_err(line)?.beyond_keepalives();
        Ok(self.idle.tick(now_s, seen))
    }

    /// The host is owed credit.
    pub fn due(&mut self, amount: Milli) -> Result<ToHost, String> {
        self.agreed.pay(&mut self.state, amount).map_err(line)
    }

    /// The host gave a receipt.
    pub fn receipt(&mut self, receipt: SignedBytes) -> Result<ToHost, String> {
        self.agreed.judge(&mut self.state, &self.keys.sign, receipt).map_err(line)
    }

    /// The host says how the account stands.
    pub fn account(&mut self, account: Account) -> Result<(), String> {
        self.account = account;
        self.agreed.counted(&mut self.state, &account).map_err(line)
    }

    /// Answers `cloudpald data`.
    pub fn ask(&mut self, ask: Ask, services: Option<&Services>) -> ToData {
        let answer = match ask.question {
            Question::Start => return ToData::Start(Box::new(self.data_start())),
            Question::Status => self.status().map(|status| Answer::Status(Box::new(status))),
            Question::SetRoster(roster) => self.set_roster(roster).map(|()| Answer::Done),
            Question::AddTickets(tickets) => {
                let mut stash = self.state.stash().clone();
                let added = stash.add(tickets).map_err(line);
                added.and_then(|()| self.state.set_stash(stash).map_err(line)).map(|()| Answer::Done)
            }
            Question::TakeTickets(limit) => {
                let mut stash = self.state.stash().clone();
                let taken = stash.take(limit, REPLY_BYTES);
                self.state.set_stash(stash).map_err(line).map(|()| Answer::Tickets(taken))
            }
            Question::Echo(run) => {
                Ok(Answer::Echo(services.map(|services| services.echoed(run)).unwrap_or_default()))
            }
        };
        ToData::Answer { id: ask.id, answer: answer.unwrap_or_else(Answer::Refused) }
    }

    fn status(&mut self) -> Result<NetworkStatus, String> {
        Ok(NetworkStatus {
            roster_version: self.roster.version,
            devices: self.hub.devices(&self.roster).map_err(line)?,
            held_cpm: self.state.stash().held_cpm(),
            account: self.account,
            today: self.state.consumed_on_day_of(now_unix_ms()),
            woke: self.woke,
            generation: self.generation,
        })
    }

    /// On the disk first, then in force.
    fn set_roster(&mut self, signed: SignedBytes) -> Result<(), String> {
        let roster = Roster::accept(signed.clone(), &self.owner_sign, &self.overlay, self.roster.version)
            .map_err(line)?;
        if roster.version == self.roster.version && roster != self.roster {
            return Err(format!(
                "the roster in force has version {} too, but says something else; make the change on top of it",
                roster.version
            ));
        }
        if roster.pal != self.name {
            return Err(format!("the roster is for a pal named {}, this one is {}", roster.pal, self.name));
        }
        self.state.set_roster(signed).map_err(line)?;
        self.hub.set_roster(&roster).map_err(line)?;
        self.roster = roster;
        Ok(())
    }
}
