//! The command line.

use crate::config::{Config, Prices};
use crate::keys::Keys;
use crate::network::Subnet;
use crate::operator::{Operator, OperatorError};
use anyhow::{Context, bail};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use cloudpal_core::PalId;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Runs pals at a data centre.
///
/// Exit codes: 0 done, 1 failed, 2 used wrongly, 3 not found, 4 refused, 5 unreachable, 6 would lose data.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    /// State folder: settings, keys, database, disks and memory images.
    #[arg(long, env = "CLOUDPAL_HOST_STATE", default_value = "/var/lib/cloudpal-host")]
    state: PathBuf,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the settings and make the host's keys.
    Init(Init),
    /// What this machine can do, and what is missing.
    Check {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Build or look at what pals boot.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Run the agent. SIGTERM ends it; machines go on and are adopted by the next one.
    Serve,
    /// What the running agent's pals do.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put a pal to sleep.
    Sleep {
        /// Its id.
        pal: PalId,
        /// Leave secrets in its memory image: only to show that a search for them finds them then.
        #[arg(long)]
        without_quiescing: bool,
    },
    /// Wake a pal.
    Wake {
        /// Its id.
        pal: PalId,
    },
    /// Remove a pal and everything that is kept of it.
    Remove {
        /// Its id.
        pal: PalId,
        /// Really: its owner's data is gone for good.
        #[arg(long)]
        yes: bool,
    },
    /// Put all pals to sleep, end the agent and take down what it set up in the network. Nothing is lost.
    StopAll,
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
    /// Turn tickets taken so far into tickets of one's own at the mint.
    Redeem {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Init {
    /// What people see.
    #[arg(long, default_value = "CloudPal host")]
    name: String,
    /// A mint whose tickets are taken; may be given several times.
    #[arg(long = "mint", required = true)]
    mints: Vec<String>,
    /// Where the HTTP API listens.
    #[arg(long, default_value = "127.0.0.1:7780")]
    listen: SocketAddr,
    /// IPv4 addresses for pals.
    #[arg(long)]
    public_v4: Subnet,
    /// IPv6 /64 for pals, such as 2001:db8:1:2::/64.
    #[arg(long, value_parser = prefix_v6)]
    public_v6: Option<Ipv6Addr>,
    /// Network namespace with the way out; the root namespace if not given.
    #[arg(long)]
    uplink_netns: Option<String>,
    /// What devices dial instead of the pal's own address.
    #[arg(long)]
    endpoint_host: Option<IpAddr>,
    /// Resolver for names of the internet; may be given several times.
    #[arg(long = "resolver", default_values = ["9.9.9.9:53", "149.112.112.112:53"])]
    resolvers: Vec<SocketAddr>,
    /// Memory of a pal's machine, MiB.
    #[arg(long, default_value_t = 128)]
    memory_mib: u32,
    /// Size of a pal's data disk, MiB.
    #[arg(long, default_value_t = 1024)]
    data_mib: u64,
    /// First of the unprivileged user ids that machines run as, one for each pal.
    #[arg(long, default_value_t = 1_000_000)]
    machine_uid: u32,
    /// Seconds without inner data or handshake after which a pal sleeps; less than 180 only for tests.
    #[arg(long, default_value_t = 180)]
    idle_s: u32,
    /// Run the meter this many times faster: only for demonstrations, which must say so.
    #[arg(long, default_value_t = 1)]
    meter_scale: u32,
    /// Keep a pal without credit this many seconds.
    #[arg(long, default_value_t = Prices::default().grace_s)]
    grace_s: u32,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Build it from a Debian kernel package's tree and the two guest programs.
    Build {
        /// Folder made by `dpkg -x linux-image-...-cloud-amd64.deb`.
        #[arg(long)]
        kernel_tree: PathBuf,
        /// Static `cloudpal-init`.
        #[arg(long)]
        init: PathBuf,
        /// Static `cloudpald`.
        #[arg(long)]
        pald: PathBuf,
    },
}

fn prefix_v6(text: &str) -> Result<Ipv6Addr, String> {
    let address = text.strip_suffix("/64").ok_or("write an IPv6 prefix that ends in /64")?;
    let prefix: Ipv6Addr = address.parse().map_err(|_| "write an IPv6 prefix like 2001:db8:1:2::/64")?;
    match u128::from(prefix) & u128::from(u64::MAX) {
        0 => Ok(prefix),
        _ => Err("the last 64 bits of the prefix must be zero".into()),
    }
}

/// The exit code that fits an error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<OperatorError>() {
        Some(operator) => operator.exit_code(),
        None => 1,
    }
}

/// Carries out a command.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let state = &cli.state;
    match cli.command {
        Command::Init(args) => init(state, args),
        Command::Check { json } => crate::check::check(state, json),
        Command::Image(ImageCommand::Build { kernel_tree, init, pald }) => {
            build_image(state, &kernel_tree, &init, &pald)
        }
        Command::Serve => crate::serve::serve(state),
        Command::Status { json } => Operator::open(state)?.print_status(json),
        Command::Sleep { pal, without_quiescing: false } => Operator::open(state)?.act(pal, "sleep"),
        Command::Sleep { pal, .. } => Operator::open(state)?.act(pal, "sleep-without-quiescing"),
        Command::Wake { pal } => Operator::open(state)?.act(pal, "wake"),
        Command::Remove { pal, yes: true } => Operator::open(state)?.act(pal, "remove"),
        Command::Remove { .. } => Err(OperatorError::WouldLoseData.into()),
        Command::StopAll => crate::operator::stop_all(state),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "cloudpal-host", &mut std::io::stdout());
            Ok(())
        }
        Command::Man { dir } => {
            std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            clap_mangen::generate_to(Cli::command(), &dir)
                .with_context(|| format!("cannot write manual pages into {}", dir.display()))
        }
        Command::Redeem { json } => crate::credit::redeem_all(state, json),
    }
}

fn init(state: &Path, args: Init) -> anyhow::Result<()> {
    let path = Config::path(state);
    if path.exists() {
        bail!("{} is there already; edit it, or choose another --state", path.display());
    }
    let config = Config {
        name: args.name,
        listen: args.listen,
        mints: args.mints,
        public_v4: args.public_v4,
        public_v6: args.public_v6,
        uplink_netns: args.uplink_netns,
        endpoint_host: args.endpoint_host,
        resolvers: args.resolvers,
        memory_mib: args.memory_mib,
        data_mib: args.data_mib,
        first_machine_uid: args.machine_uid,
        idle_s: args.idle_s,
        prices: Prices { speed: args.meter_scale.max(1), grace_s: args.grace_s, ..Prices::default() },
    };
    std::fs::create_dir_all(state).with_context(|| format!("cannot make the folder {}", state.display()))?;
    let keys = Keys::open(&state.join("keys"))?;
    std::fs::write(&path, toml::to_string(&config)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}", serde_json::json!({ "config": path, "key": keys.public() }));
    Ok(())
}

fn build_image(state: &Path, kernel_tree: &Path, init: &Path, pald: &Path) -> anyhow::Result<()> {
    let request = cloudpal_image::BuildRequest::new(kernel_tree, init, pald, image_dir(state));
    let image = cloudpal_image::build(&request)?;
    println!("{}", serde_json::json!({ "digest": image.digest, "kernel": image.kernel_version }));
    Ok(())
}

/// Where the image that pals boot is kept.
pub fn image_dir(state: &Path) -> PathBuf {
    state.join("image")
}
