//! `cloudpal-mint`: the ticket seller's program. See the library for what it does and never does.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use cloudpal_form::{UNIT, VoucherFormError};
use cloudpal_mint::{InitError, LedgerError, OpenError, ServeError, Service, State, rotate, totals};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

const MAX_COUNT: u32 = 10_000;

/// Sells compute-minutes as blind tickets, paid by vouchers.
#[derive(Parser)]
#[command(version, after_help = "Exit codes: 0 done, 1 failed, 2 used wrongly, 3 not found, 4 refused.")]
struct Args {
    /// The seller's state folder.
    #[arg(long, value_name = "DIR", env = "CLOUDPAL_MINT_STATE", default_value = "/var/lib/cloudpal-mint")]
    state: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new seller: its seed, readable by this user only.
    Init,
    /// Serve until SIGTERM. Prints {"url", "unit"} and writes DIR/ready once it accepts connections.
    Serve {
        /// Address and port; port 0 picks a free one.
        #[arg(long, default_value = "127.0.0.1:3338")]
        listen: SocketAddr,
    },
    /// Print vouchers. Each code is shown once and not kept: only its hash is.
    Voucher {
        /// What each is worth, in cpm.
        amount: u64,
        /// How many.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_COUNT)))]
        count: u32,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Make a new keyset sign from now on. Not while serving. Tell data centres: they must fetch it.
    Rotate {
        /// For how many days the new keyset is honoured; without it, for ever.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(30..=3650))]
        lifetime: Option<u32>,
    },
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write manual pages into a folder.
    Man {
        /// The folder.
        dir: PathBuf,
    },
    /// Show, for each keyset, what was issued, spent and is outstanding.
    Totals {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .init();
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = runtime.context("no runtime").and_then(|runtime| runtime.block_on(run(&args)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloudpal-mint: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Init => {
            State::init(&args.state)?;
            println!("A new seller is in {}. Keep a copy of its seed file safe.", args.state.display());
        }
        Command::Serve { listen } => serve(&State::open(&args.state)?, *listen).await?,
        Command::Voucher { amount, count, json } => {
            let ledger = State::open(&args.state)?.ledger()?;
            let printed: Result<Vec<_>, _> = (0..*count).map(|_| ledger.print(*amount)).collect();
            let codes: Vec<String> = printed?.iter().map(|voucher| voucher.reveal()).collect();
            if *json {
                println!("{}", json!({ "amount": amount, "unit": UNIT, "vouchers": codes }));
            } else {
                codes.iter().for_each(|code| println!("{code}"));
            }
        }
        Command::Rotate { lifetime } => {
            let lifetime = lifetime.map(|days| Duration::from_secs(u64::from(days) * 86_400));
            println!("{}", rotate(&State::open(&args.state)?, lifetime).await?);
        }
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Args::command(), "cloudpal-mint", &mut std::io::stdout());
        }
        Command::Man { dir } => {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
            clap_mangen::generate_to(Args::command(), dir)
                .with_context(|| format!("cannot write manual pages into {}", dir.display()))?;
        }
        Command::Totals { json } => {
            let totals = totals(&State::open(&args.state)?).await?;
            if *json {
                println!("{}", json!({ "unit": UNIT, "keysets": totals }));
            } else {
                println!("{:<66} {:>12} {:>12} {:>12}", "keyset", "issued", "spent", "outstanding");
                for keyset in totals {
                    let (issued, spent) = (keyset.issued, keyset.spent);
                    println!("{:<66} {issued:>12} {spent:>12} {:>12}", keyset.keyset, keyset.outstanding);
                }
            }
        }
    }
    Ok(())
}

async fn serve(state: &State, listen: SocketAddr) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let service = Service::start(state, listen).await?;
    let ready = state.dir().join("ready");
    let line = json!({ "url": service.url(), "unit": UNIT, "pid": std::process::id() }).to_string();
    write_whole(&ready, &line).with_context(|| format!("cannot write {}", ready.display()))?;
    println!("{line}");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = fs::remove_file(&ready);
    service.stop().await;
    Ok(())
}

/// Whoever waits for the file must never read half of it.
fn write_whole(path: &Path, line: &str) -> std::io::Result<()> {
    let aside = path.with_extension("new");
    fs::write(&aside, format!("{line}\n"))?;
    fs::rename(aside, path)
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let used_wrongly = error
        .downcast_ref::<LedgerError>()
        .is_some_and(|error| matches!(error, LedgerError::Form(VoucherFormError::Amount)));
    if used_wrongly {
        return 2;
    }
    if matches!(error.downcast_ref(), Some(OpenError::Missing(_))) {
        return 3;
    }
    let refused = matches!(error.downcast_ref(), Some(InitError::Exists(_)))
        || matches!(error.downcast_ref(), Some(OpenError::TooOpen(_)))
        || matches!(error.downcast_ref(), Some(ServeError::Running));
    if refused { 4 } else { 1 }
}
