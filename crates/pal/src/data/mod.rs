//! `cloudpald data`: the half that knows the owner's data while it is unlocked, and dies before every
//! sleep.

mod files;
mod guard;
mod hyper;
mod network;
mod owner;
mod page;
mod status;
mod vault;
mod web;

use crate::frames::{Incoming, Outgoing, inherited};
use cloudpal_protocol::guest::ToHost;
use cloudpal_protocol::inside::{DataStart, FromData, ToData};
use network::Network;
use owner::Owner;
use std::io;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use vault::Vault;

/// Messages on their way to init; more wait.
const QUEUE: usize = 64;

/// Serves until init closes the channel, ends it before a sleep (whatever is half done then is as if it
/// had not been begun: files are written whole or not at all), or the owner locks the data.
pub async fn run() -> io::Result<()> {
    let (incoming, outgoing) = inherited()?;
    let (to_init, queue) = mpsc::channel(QUEUE);
    let network = Arc::new(Network::new(to_init.clone()));
    let vault = Arc::new(Vault::new(to_init.clone()));
    let mut asked_to_end = signal(SignalKind::terminate())?;
    network.request_start().await;
    tokio::select! {
        ended = pass_out(queue, outgoing) => ended,
        ended = pass_in(incoming, to_init, network, vault.clone()) => ended,
        () = vault.locked_for_good() => Ok(()),
        _ = asked_to_end.recv() => {
            vault.close_store().await;
            // At once, without waiting for whoever still reads or writes.
            std::process::exit(0)
        }
    }
}

async fn pass_out(mut queue: mpsc::Receiver<FromData>, mut outgoing: Outgoing) -> io::Result<()> {
    while let Some(message) = queue.recv().await {
        outgoing.send(&message).await?;
    }
    Ok(())
}

async fn pass_in(
    mut incoming: Incoming,
    to_init: mpsc::Sender<FromData>,
    network: Arc<Network>,
    vault: Arc<Vault>,
) -> io::Result<()> {
    let mut owner: Option<mpsc::Sender<(u64, Vec<u8>)>> = None;
    while let Some(message) = incoming.next().await? {
        match message {
            ToData::Start(start) if owner.is_none() => {
                owner = Some(begin(*start, &to_init, &network, &vault));
            }
            ToData::Start(_) => {}
            ToData::Answer { id, answer } => network.answered(id, answer),
            ToData::Relay { session, message } => {
                let taken = owner.as_ref().is_some_and(|owner| owner.try_send((session, message)).is_ok());
                if !taken {
                    // Not ready, or too busy: the owner's device tries again.
                    let refused = ToHost::Relay { session, message: Vec::new() };
                    let _ = to_init.try_send(FromData::Host(refused));
                }
            }
        }
    }
    Ok(())
}

/// Starts the page and the owner channel.
fn begin(
    start: DataStart,
    to_init: &mpsc::Sender<FromData>,
    network: &Arc<Network>,
    vault: &Arc<Vault>,
) -> mpsc::Sender<(u64, Vec<u8>)> {
    let start = Arc::new(start);
    let (sender, receiver) = mpsc::channel(QUEUE);
    let owner = Owner::new(start.clone(), network.clone(), vault.clone(), to_init.clone());
    tokio::spawn(owner.serve(receiver));
    web::start(start, network.clone(), vault.clone());
    sender
}
