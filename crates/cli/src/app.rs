//! What every command has at hand, and the few steps that many of them share.

use crate::credit::Credit;
use crate::failure::{Exit, Failure};
use crate::host::{Host, PalAt};
use crate::person::{PalRecord, Person, Stage};
use crate::session::Session;
use crate::terminal::Progress;
use cloudpal_core::Milli;
use cloudpal_protocol::api::{HostInfo, PalInfo, PalState};
use cloudpal_protocol::guest::PalKeys;
use cloudpal_protocol::price::PriceList;
use cloudpal_protocol::receipt::Metered;
use std::time::{Duration, Instant};

/// A cold boot without KVM takes seconds; a busy host may take minutes.
const PATIENCE: Duration = Duration::from_secs(300);

/// An agent of the host that is restarted answers again after this long.
const OUTAGE: Duration = Duration::from_secs(30);

/// The person, their credit and somebody to tell.
#[derive(Clone, Copy)]
pub struct App<'a> {
    /// Keys and records.
    pub person: &'a Person,
    /// Purses.
    pub credit: &'a dyn Credit,
    /// Hears of each step before it is taken.
    pub progress: &'a dyn Progress,
}

impl App<'_> {
    /// The pal at its host, after making sure that the host still has the key that was pinned.
    pub fn at_host(&self, pal: &PalRecord) -> Result<(PalAt, HostInfo), Failure> {
        let host = Host::at(&pal.host_url)?;
        let info = known_host(&host, Some(pal))?;
        Ok((host.pal(pal.id, self.person.owner_sign(pal.id)?), info))
    }

    /// The pal awake: woken if it sleeps. Its keys must be the pinned ones.
    pub fn awake(&self, at: &PalAt, pal: &PalRecord) -> Result<PalInfo, Failure> {
        let info = at.info()?;
        check_keys(pal, &info)?;
        match info.state {
            PalState::Awake => return Ok(info),
            PalState::Asleep => {
                self.progress.step(&format!("Waking {}", pal.name));
                at.wake()?;
            }
            _ => {}
        }
        let info = self.wait_for(at, |info| info.state == PalState::Awake)?;
        check_keys(pal, &info)?;
        Ok(info)
    }

    /// A session with the pal that was pinned.
    pub fn session<'p>(&self, at: &'p PalAt, pal: &PalRecord) -> Result<Session<'p>, Failure> {
        let keys = pal.keys.ok_or_else(|| unfinished(pal))?;
        Ok(Session::open(at, &self.person.owner_unlock(pal.id)?, Some(keys.channel))?)
    }

    /// Waits until the pal is as wanted, or is in a state from which waiting leads nowhere.
    pub fn wait_for(&self, at: &PalAt, wanted: impl Fn(&PalInfo) -> bool) -> Result<PalInfo, Failure> {
        self.wait(at, wanted, going_on)
    }

    /// Waits until a pal that was just paid for is no longer without credit.
    pub fn wait_for_credit(&self, at: &PalAt) -> Result<PalInfo, Failure> {
        self.wait(at, |info| info.state != PalState::Unpaid, |_| Ok(()))
    }

    // A host that is silent for a short while is asked again.
    fn wait(
        &self,
        at: &PalAt,
        wanted: impl Fn(&PalInfo) -> bool,
        hopeful: impl Fn(&PalInfo) -> Result<(), Failure>,
    ) -> Result<PalInfo, Failure> {
        let began = Instant::now();
        let mut heard = began;
        let mut known: Option<PalInfo> = None;
        while began.elapsed() < PATIENCE {
            let asked = match &known {
                None => at.info(),
                Some(info) => at.changed_since(info.change),
            };
            match asked {
                Ok(info) if wanted(&info) => return Ok(info),
                Ok(info) => {
                    heard = Instant::now();
                    hopeful(&info)?;
                    if known.as_ref().is_none_or(|before| before.state != info.state) {
                        self.progress.step(&format!("{} is {}", info.name, state_word(info.state)));
                    }
                    known = Some(info);
                }
                Err(error) if error.is_unreachable() && heard.elapsed() < OUTAGE => {
                    std::thread::sleep(Duration::from_millis(500));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let message = "the pal did not get there within five minutes; look with `cloudpal status`";
        Err(Failure::new(Exit::Failed, message))
    }
}

/// Asks a host who it is; refuses prices that it did not sign and another key than the pinned one.
pub fn known_host(host: &Host, pinned: Option<&PalRecord>) -> Result<HostInfo, Failure> {
    let info = host.info()?;
    if let Some(pal) = pinned.filter(|pal| pal.host_key != info.key) {
        let message = format!(
            "{} has another key than when {} was made there: somebody else may be answering. Nothing was sent. \
             Ask the operator; the pinned key is {}, this one is {}",
            host.url(),
            pal.name,
            pal.host_key,
            info.key
        );
        return Err(Failure::new(Exit::Refused, message));
    }
    let signed = info.prices.verify(&info.key)?;
    if signed != info.price_list {
        let message = "the host shows other prices than it signs; nothing was sent. Use another host";
        return Err(Failure::new(Exit::Refused, message));
    }
    Ok(info)
}

/// Refuses a pal that shows other keys than those pinned.
pub fn check_keys(pal: &PalRecord, info: &PalInfo) -> Result<(), Failure> {
    match (pal.keys, info.keys) {
        (Some(pinned), Some(found)) if pinned != found => Err(Failure::new(
            Exit::Refused,
            format!(
                "{} shows other keys than those pinned when it was made; its host may have put another machine in its \
                 place. Nothing was sent to it",
                pal.name
            ),
        )),
        _ => Ok(()),
    }
}

/// The pinned keys, or how to get them.
pub fn pinned(pal: &PalRecord) -> Result<PalKeys, Failure> {
    pal.keys.filter(|_| pal.stage >= Stage::Pinned).ok_or_else(|| unfinished(pal))
}

fn unfinished(pal: &PalRecord) -> Failure {
    let (at, name) = (&pal.host_url, &pal.name);
    let message =
        format!("{name} is not finished yet; run `cloudpal create --at {at} --name {name}` to go on");
    Failure::new(Exit::Failed, message)
}

// A state from which waiting leads nowhere.
fn going_on(info: &PalInfo) -> Result<(), Failure> {
    let name = &info.name;
    let (exit, message) = match info.state {
        PalState::Unpaid => (
            Exit::Refused,
            format!("{name} is asleep for want of credit; give it some with `cloudpal top-up {name} CPM`"),
        ),
        PalState::Gone => (Exit::NotFound, format!("{name} is gone from its host")),
        PalState::Failed => {
            let why = info.notice.as_deref().unwrap_or("its host's log says why");
            (Exit::Failed, format!("{name} cannot be started: {why}"))
        }
        _ => return Ok(()),
    };
    Err(Failure::new(exit, message))
}

/// A state in a word.
pub fn state_word(state: PalState) -> &'static str {
    match state {
        PalState::Paid => "paid for",
        PalState::Booting => "booting",
        PalState::Awake => "awake",
        PalState::Quiescing | PalState::Saving => "going to sleep",
        PalState::Asleep => "asleep",
        PalState::Waking | PalState::Resuming => "waking",
        PalState::Unpaid => "asleep for want of credit",
        PalState::Gone => "gone",
        PalState::Failed => "failed",
    }
}

/// What `seconds` of the person's time cost, awake or asleep.
pub fn cost_over(prices: &PriceList, metered: Metered, seconds: u64) -> Milli {
    cloudpal_meter::cost(prices, metered, seconds.saturating_mul(1000))
}
