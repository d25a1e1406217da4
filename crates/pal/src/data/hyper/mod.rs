//! Logs, sorted maps, drives and databases over HTTP, beside the page: `/v1/logs`, `/v1/bees`, `/v1/drives`, `/v1/databases`
//! (`docs/data-api.md` and `docs/database-api.md` tell them to those who call). Who may is the page's rule; databases are
//! offered to holders of tokens, too.
//!
//! All blocks, keys, files and databases live in one store on the unlocked data disk ([`shelf`]), which is opened when it is
//! first asked for: a pal whose owner keeps nothing there spends no memory on it. On [`port`] the same store
//! replicates with the owner's other devices.

mod bases;
mod bees;
mod body;
mod databases;
mod drives;
mod logs;
mod peers;
pub mod port;
mod problem;
mod range;
mod shelf;
#[cfg(test)]
mod tests;

pub use problem::Problem;
pub use shelf::Shelf;

use super::vault::Vault;
use axum::extract::{FromRef, State};
use axum::routing::get;
use axum::{Json, Router};
use cloudpal_shelf::Kind;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that work on the store at the same time; more wait. Each may hold some MiB.
const AT_ONCE: usize = 4;
/// A file that comes in counts as so many: what it gathers before it is written takes memory.
const UPLOAD: u32 = 2;

/// What every request for data can reach.
#[derive(Clone)]
pub struct Hyper {
    vault: Arc<Vault>,
    turns: Arc<Semaphore>,
    addresses: [IpAddr; 2],
}

impl Hyper {
    /// On the disk of `vault`, for a pal with these overlay addresses.
    pub fn new(vault: Arc<Vault>, addresses: [IpAddr; 2]) -> Self {
        Hyper { vault, turns: Arc::new(Semaphore::new(AT_ONCE)), addresses }
    }

    /// The store, opened if it is not.
    async fn shelf(&self) -> Result<Arc<Shelf>, Problem> {
        self.vault.shelf().await
    }

    /// Waits for a turn; whoever holds one may use some memory.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.turns.clone().acquire_owned().await.map_err(|_| Problem::stumbled())
    }

    /// Does something with the store, away from the loop that serves everybody else.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shelf) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.turn().await?;
        self.run_in(turn, work).await
    }

    /// The same with something that takes more memory.
    async fn run_large<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shelf) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let turns = self.turns.clone().acquire_many_owned(UPLOAD).await;
        self.run_in(turns.map_err(|_| Problem::stumbled())?, work).await
    }

    async fn run_in<T: Send + 'static>(
        &self,
        turn: OwnedSemaphorePermit,
        work: impl FnOnce(&Shelf) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let shelf = self.shelf().await?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&shelf)
        });
        done.await.map_err(|_| Problem::stumbled())?
    }
}

/// The routes, for a router whose state holds this [`Hyper`].
pub fn router<S>(hyper: &Hyper) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Hyper: FromRef<S>,
{
    Router::new()
        .route("/v1", get(about))
        .nest("/v1/logs", logs::router())
        .nest("/v1/bees", bees::router())
        .nest("/v1/drives", drives::router())
        .nest("/v1/peers", peers::router())
        .merge(databases::router(hyper))
        .route("/v1/{*rest}", axum::routing::any(|| async { Problem::no_route() }))
}

/// What the store is, and where it replicates.
async fn about(State(hyper): State<Hyper>) -> Result<Json<Value>, Problem> {
    let addresses = hyper.addresses.map(|address| std::net::SocketAddr::from((address, port::PORT)));
    let about = hyper.run(|shelf| shelf.about()).await?;
    Ok(Json(json!({
        "replicate": addresses.map(|address| address.to_string()),
        "network_key": about.network_key,
        "peers": about.peers,
        "logs": about.counts[Kind::Log as usize],
        "bees": about.counts[Kind::Bee as usize],
        "drives": about.counts[Kind::Drive as usize],
        "databases": about.databases,
        "losses": about.losses,
        "resident_bytes": kib("/proc/self/status", "VmRSS:").map(|kib| kib * 1024),
        "available_bytes": kib("/proc/meminfo", "MemAvailable:").map(|kib| kib * 1024),
    })))
}

/// A number of KiB that the kernel tells.
fn kib(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}
