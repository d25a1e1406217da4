//! The running agent.

use crate::api;
use crate::commands::image_dir;
use crate::config::Config;
use crate::credit;
use crate::keys::Keys;
use crate::lifecycle::SleepReason;
use crate::registry::Registry;
use crate::store::Store;
use crate::worker::{Ask, Quiescing};
use anyhow::{Context, bail};
use cloudpal_image::Image;
use cloudpal_machine::{Choice, Engine, Helper, QEMU};
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// New keys of the mints are looked for this often.
const KEYSETS_EVERY: Duration = Duration::from_secs(300);

/// Tickets that were taken are turned into tickets of one's own this often.
const REDEEM_EVERY: Duration = Duration::from_secs(60);

/// A request that is under way when the agent stops is given this long.
const DRAIN: Duration = Duration::from_secs(2);

/// Hidden first argument by which the machine crate's helper process starts this program again.
pub const MACHINE_HELPER: &str = "machine-helper";

/// How the agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Machines and network stay for the next agent.
    Leave,
    /// All pals sleep; their network is taken down too.
    TakeDown,
}

/// Runs the agent until SIGTERM or SIGINT, or until `stop-all` asks it to end.
pub fn serve(state: &Path) -> anyhow::Result<()> {
    let (_only_one, registry) = bring_up(state)?;
    let pals = registry.resume_all()?;
    let runtime = runtime()?;
    let end = runtime.block_on(listen(&registry, pals));
    registry.leave_all();
    runtime.shutdown_timeout(DRAIN);
    match end? {
        End::Leave => Ok(()),
        End::TakeDown => take_down(&registry),
    }
}

/// `stop-all` where no agent runs: becomes the agent for as long as it takes.
pub fn stop_without_agent(state: &Path) -> anyhow::Result<()> {
    let (_only_one, registry) = bring_up(state)?;
    registry.resume_all()?;
    runtime()?.block_on(async {
        for pal in registry.all().iter().filter(|pal| pal.for_operator().machine_pid.is_some()) {
            let sleep = |reply| Ask::Sleep(SleepReason::Operator, Quiescing::Full, reply);
            let info = pal.ask(sleep).await.map_err(|error| anyhow::anyhow!(error.message))?;
            eprintln!("{} is {:?}", info.id.short(), info.state);
        }
        anyhow::Ok(())
    })?;
    registry.leave_all();
    take_down(&registry)
}

fn bring_up(state: &Path) -> anyhow::Result<(Flock<File>, Arc<Registry>)> {
    let config = Config::load(state)?;
    let only_one = lock(state)?;
    let image = Image::open(&image_dir(state)).context(
        "there is nothing for pals to boot; run `cloudpal-host image build` (see `cloudpal-host image build --help`)",
    )?;
    let engine = engine()?;
    let keys = Keys::open(&state.join("keys"))?;
    let store = Store::open(&state.join("host.sqlite"))?;
    let till = credit::open(&state.join("till"))?;
    Ok((only_one, Arc::new(Registry::new(state.to_owned(), config, keys, store, till, image, engine))))
}

/// Finds out what can run machines here, and why this and nothing else.
pub fn engine() -> anyhow::Result<(Engine, Choice)> {
    let helper = Helper::this_program(MACHINE_HELPER);
    let qemu = Some(Path::new(QEMU)).filter(|path| path.exists());
    let firecracker = std::env::var_os("CLOUDPAL_FIRECRACKER").map(PathBuf::from);
    let choice = cloudpal_machine::choose(&cloudpal_machine::probe(&helper), qemu, firecracker.as_deref())?;
    let engine = Engine::new(choice.hypervisor, Path::new(QEMU), helper)?;
    Ok((engine, choice))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("cannot start the HTTP server's threads")
}

fn take_down(registry: &Registry) -> anyhow::Result<()> {
    for record in registry.store.pals()? {
        crate::worker::take_down_network(registry, &record)?;
    }
    crate::worker::take_down_cgroup()
}

fn lock(state: &Path) -> anyhow::Result<Flock<File>> {
    let path = state.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
            bail!("another agent already runs with {}; stop it first", state.display())
        }
        Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

async fn listen(registry: &Arc<Registry>, pals: usize) -> anyhow::Result<End> {
    let address = registry.config.listen;
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; another program may use this port: change `listen` in host.toml")
    })?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = tokio::sync::watch::channel(());
    let background = [
        tokio::task::spawn(every(KEYSETS_EVERY, registry.clone(), credit::refresh_keysets)),
        tokio::task::spawn(every(REDEEM_EVERY, registry.clone(), credit::redeem_quietly)),
    ];
    announce(registry, listener.local_addr()?, pals)?;
    let mut until = stopped.clone();
    let server = axum::serve(listener, api::router(registry.clone()))
        .with_graceful_shutdown(async move { drop(until.changed().await) });
    let server = tokio::spawn(server.into_future());
    let end = tokio::select! {
        _ = terminate.recv() => End::Leave,
        _ = interrupt.recv() => End::Leave,
        () = registry.stop.notified() => End::TakeDown,
    };
    tracing::info!(?end, "asked to stop");
    background.iter().for_each(|task| task.abort());
    drop(stop);
    // A request that waits for news must not keep the agent from stopping.
    drop(tokio::time::timeout(DRAIN, server).await);
    Ok(end)
}

async fn every(period: Duration, registry: Arc<Registry>, what: fn(&Registry)) {
    loop {
        let registry = registry.clone();
        // A panic in the task is printed by the runtime; the next round tries again.
        drop(tokio::task::spawn_blocking(move || what(&registry)).await);
        tokio::time::sleep(period).await;
    }
}

/// One line for whoever started the agent.
fn announce(registry: &Registry, address: std::net::SocketAddr, pals: usize) -> anyhow::Result<()> {
    let line = serde_json::json!({
        "url": format!("http://{address}"),
        "key": registry.keys.public(),
        "hypervisor": registry.hypervisor.why,
        "pals": pals,
        "pid": std::process::id(),
    });
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot say that the agent is ready")
}
