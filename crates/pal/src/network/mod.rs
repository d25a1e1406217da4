//! `cloudpald network`: the half that lives through sleep.

mod credit;
mod dns;
mod echo;
mod hub;
mod idle;
mod pal;
mod services;
mod stash;
mod state;
mod volume;

use crate::frames::{Outgoing, inherited};
use cloudpal_protocol::guest::{BootRecord, ToHost};
use cloudpal_protocol::inside::{Answer, Ask, FromNetwork, ToData, ToNetwork};
use pal::Pal;
use services::Services;
use std::io;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

/// Longer than any pal is awake.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Devices are greeted this long after a wake: whoever rang is answered first.
const GREET_AFTER: Duration = Duration::from_millis(100);

/// Serves until init closes the channel.
pub async fn run() -> io::Result<()> {
    let (mut incoming, outgoing) = inherited()?;
    let started = Instant::now();
    let mut half = Half { outgoing, pal: None, services: None, started, greet_at: started + NEVER };
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = incoming.next() => match message? {
                Some(message) => half.take(message).await?,
                None => return Ok(()),
            },
            () = sleep_until(half.greet_at.into()) => half.greet().await?,
            _ = ticks.tick() => half.tick().await?,
        }
    }
}

struct Half {
    outgoing: Outgoing,
    /// None until booted, or when the network state cannot be opened.
    pal: Option<Pal>,
    services: Option<Services>,
    started: Instant,
    greet_at: Instant,
}

impl Half {
    fn now_s(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    async fn take(&mut self, message: ToNetwork) -> io::Result<()> {
        let now_s = self.now_s();
        if let ToNetwork::Boot(record) = message {
            return self.boot(*record).await;
        }
        let Some(pal) = &mut self.pal else {
            return match message {
                ToNetwork::Ask(Ask { id, .. }) => {
                    let answer =
                        Answer::Refused("the pal's network is not up; ask its data centre".to_owned());
                    self.outgoing.send(&FromNetwork::Data(ToData::Answer { id, answer })).await
                }
                _ => Ok(()),
            };
        };
        let said = match message {
            ToNetwork::Boot(_) => return Ok(()),
            ToNetwork::Quiesce => pal.quiesce().map(|()| FromNetwork::Quiesced),
            ToNetwork::Stand => pal.stand().map(|()| FromNetwork::Standing),
            ToNetwork::Awake { generation, reason } => {
                self.greet_at = Instant::now() + GREET_AFTER;
                pal.awake(generation, reason, now_s).map(|()| FromNetwork::Awake)
            }
            ToNetwork::Due(amount) => pal.due(amount).map(FromNetwork::Host),
            ToNetwork::Receipt(receipt) => pal.receipt(receipt).map(FromNetwork::Host),
            ToNetwork::Account(account) => match pal.account(account) {
                Ok(()) => return Ok(()),
                Err(line) => Err(line),
            },
            ToNetwork::Ask(ask) => {
                let said = pal.ask(ask, self.services.as_ref());
                self.refresh_names();
                return self.outgoing.send(&FromNetwork::Data(said)).await;
            }
        };
        self.outgoing.send(&said.unwrap_or_else(log)).await
    }

    async fn boot(&mut self, record: BootRecord) -> io::Result<()> {
        if let Some(pal) = &self.pal {
            return self.outgoing.send(&FromNetwork::Host(ToHost::Up(pal.keys()))).await;
        }
        let resolvers = record.link.resolvers.clone();
        match Pal::start(record, self.now_s()) {
            Ok(pal) => {
                self.services = Some(Services::start(pal.zone(), resolvers));
                let (up, start) = (ToHost::Up(pal.keys()), ToData::Start(Box::new(pal.data_start())));
                self.pal = Some(pal);
                self.outgoing.send(&FromNetwork::Host(up)).await?;
                self.outgoing.send(&FromNetwork::Data(start)).await
            }
            Err(line) => self.outgoing.send(&log(line)).await,
        }
    }

    /// The resolver answers by the roster in force.
    fn refresh_names(&self) {
        if let (Some(pal), Some(services)) = (&self.pal, &self.services) {
            services.set_zone(pal.zone());
        }
    }

    async fn greet(&mut self) -> io::Result<()> {
        self.greet_at = Instant::now() + NEVER;
        let now_s = self.now_s();
        match self.pal.as_mut().map(|pal| pal.greet(now_s)) {
            Some(Err(line)) => self.outgoing.send(&log(line)).await,
            _ => Ok(()),
        }
    }

    async fn tick(&mut self) -> io::Result<()> {
        let now_s = self.now_s();
        let Some(pal) = &mut self.pal else { return Ok(()) };
        match pal.tick(now_s) {
            Ok(None) => Ok(()),
            Ok(Some(seconds)) => self.outgoing.send(&FromNetwork::Host(ToHost::Idle { seconds })).await,
            Err(line) => self.outgoing.send(&log(line)).await,
        }
    }
}

fn log(line: String) -> FromNetwork {
    FromNetwork::Host(ToHost::Log { line })
}
