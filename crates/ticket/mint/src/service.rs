//! Serving: the mint, its HTTP interface, and a lock so that only one runs on a state folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn;
use cdk::mint::{Mint, MintBuilder, MintMeltLimits, UnitConfig};
use cdk_common::nuts::{CurrencyUnit, PaymentMethod};
use cdk_sqlite::MintSqliteDatabase;
use cloudpal_form::{MAX_VOUCHER_AMOUNT, SETTLE_METHOD, UNIT, VOUCHER_METHOD};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::backend::{Backend, Direction};
use crate::desk::{Desk, name_settle_method};
use crate::ledger::LedgerError;
use crate::note::NoteKey;
use crate::state::State;

// 1 to 8,388,608 cpm. Fixed for good: changing it would make another keyset, and with it a smaller crowd.
const AMOUNT_BITS: u32 = 24;
const GRACE: Duration = Duration::from_secs(5);

/// A seller that serves. Dropping it stops taking requests; [`Service::stop`] also waits for those under way.
pub struct Service {
    url: String,
    mint: Arc<Mint>,
    shutdown: oneshot::Sender<()>,
    server: JoinHandle<()>,
    _lock: File,
}

/// Why the seller does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port is taken or not ours.
    #[error("cannot listen on {listen}: is another program using the port? choose another by --listen")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another seller runs on the same state.
    #[error("another cloudpal-mint is serving from this folder: stop it first")]
    Running,
    /// The lock file could not be made.
    #[error("cannot lock the state folder")]
    Lock(#[source] std::io::Error),
    /// The voucher ledger could not be opened.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The mint's database could not be opened.
    #[error("cannot open the seller's database: check the disk")]
    Database(#[source] cdk_common::database::Error),
    /// The mint did not start.
    #[error("the seller could not start")]
    Mint(#[source] cdk::Error),
    /// The seed gives no key.
    #[error("the seed cannot be used: put back your copy of it")]
    Seed,
    /// The HTTP interface could not be built.
    #[error("the seller's HTTP interface could not be built: {0}")]
    Router(String),
}

impl Service {
    /// Starts serving on `listen` (port 0 picks one). Returns once connections are accepted.
    pub async fn start(state: &State, listen: SocketAddr) -> Result<Self, ServeError> {
        let lock = lock(state)?;
        let ledger = state.ledger()?;
        let mint = Arc::new(build(state).await?);
        mint.start().await.map_err(ServeError::Mint)?;

        let methods = vec![VOUCHER_METHOD.to_owned(), SETTLE_METHOD.to_owned()];
        let router = cdk_axum::create_mint_router(mint.clone(), methods)
            .await
            .map_err(|error| ServeError::Router(error.to_string()))?
            .layer(from_fn(name_settle_method))
            .merge(Desk::router(mint.clone(), ledger));

        let at = |source| ServeError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(at)?;
        let url = format!("http://{}", listener.local_addr().map_err(at)?);
        let (shutdown, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            let serving = axum::serve(listener, service).with_graceful_shutdown(async {
                let _ = stopped.await;
            });
            if let Err(error) = serving.await {
                tracing::error!(%error, "the seller stopped serving");
            }
        });
        Ok(Self { url, mint, shutdown, server, _lock: lock })
    }

    /// Where it can be reached.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops taking requests, finishes those under way (for at most 5 s) and closes.
    pub async fn stop(self) {
        let _ = self.shutdown.send(());
        let mut server = self.server;
        // Idle keep-alive connections would hold a graceful shutdown open for ever.
        if tokio::time::timeout(GRACE, &mut server).await.is_err() {
            server.abort();
        }
        if let Err(error) = self.mint.stop().await {
            tracing::warn!(%error, "the mint's tasks did not stop cleanly");
        }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Service({})", self.url)
    }
}

pub(crate) fn amounts() -> Vec<u64> {
    (0..AMOUNT_BITS).map(|bit| 1 << bit).collect()
}

pub(crate) async fn build(state: &State) -> Result<Mint, ServeError> {
    let path = state.mint_database();
    let database = Arc::new(MintSqliteDatabase::new(&path).await.map_err(ServeError::Database)?);
    let unit = CurrencyUnit::custom(UNIT);
    let ledger = state.ledger()?;

    let mut builder = MintBuilder::new(database.clone()).with_name("CloudPal tickets".to_owned());
    let config = UnitConfig { amounts: amounts(), input_fee_ppk: 0 };
    builder.configure_unit(unit.clone(), config).map_err(ServeError::Mint)?;
    let note_key = NoteKey::derive(state.seed()).ok_or(ServeError::Seed)?;
    let limits = MintMeltLimits::new(1, MAX_VOUCHER_AMOUNT);
    for (method, direction) in
        [(VOUCHER_METHOD, Direction::Vouchers), (SETTLE_METHOD, Direction::Notes(note_key))]
    {
        let backend = Arc::new(Backend::new(ledger.clone(), direction));
        builder
            .add_payment_processor(unit.clone(), PaymentMethod::from(method), limits, backend)
            .await
            .map_err(ServeError::Mint)?;
    }

    // The builder offers every method both ways; a voucher cannot be paid out, nor a note paid in.
    let mut info = builder.current_mint_info();
    info.nuts.nut04.methods.retain(|settings| settings.method == VOUCHER_METHOD);
    info.nuts.nut05.methods.retain(|settings| settings.method == SETTLE_METHOD);
    let builder = builder.with_mint_info(info);
    builder.build_with_seed(database, state.seed()).await.map_err(ServeError::Mint)
}

pub(crate) fn lock(state: &State) -> Result<File, ServeError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(state.dir().join("lock"))
        .map_err(ServeError::Lock)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServeError::Running),
        Err(TryLockError::Error(error)) => Err(ServeError::Lock(error)),
    }
}
