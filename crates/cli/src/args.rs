//! The command line.

use crate::command::data::args::{BeeCommand, DriveCommand, LogCommand};
use crate::command::db::args::DbCommand;
use clap::{Args, Parser, Subcommand, ValueHint};
use std::net::SocketAddr;
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: tried and did not work; the message says what to do
  2  used wrongly
  3  not found: no such pal, device, log, key or file; or no keys yet
  4  refused: rights, credit, a signature, locked data, or a key that is not the pinned one
  5  unreachable: host, ticket seller, pal or peer does not answer
  6  data or credit would be lost

Settings: a flag goes before the environment, the environment before the default.
Logs: CLOUDPAL_LOG=debug (standard error).";

const LOG_HELP: &str = "\
Examples, in a folder of this machine: no pal and no account are needed. Without --store the log is on your pal.

  cloudpal log create diary --store ~/data          makes a log and prints its key
  echo 'Dear diary' | cloudpal log append diary --store ~/data
  cloudpal log get diary 0.. --store ~/data         prints all blocks
  cloudpal log serve diary --listen 0.0.0.0:4000 --store ~/data
  cloudpal log fetch KEY --from 192.0.2.7:4000 --store ~/copy

The folder is encrypted; its key opens on this device only. Whoever has a log's key can fetch and read it, unless it is
encrypted; only this folder can write it. Programs written with npm's hypercore understand it, too.";

const BEE_HELP: &str = "\
Examples, in a folder of this machine: no pal and no account are needed. Without --store the map is on your pal.

  cloudpal bee create pantry --store ~/data         makes a map and prints its key
  cloudpal bee put pantry beans '3 tins' --store ~/data
  cloudpal bee scan pantry --prefix b --store ~/data
  cloudpal bee history pantry --reverse --limit 5 --store ~/data
  cloudpal bee serve pantry --listen 0.0.0.0:4000 --store ~/data
  cloudpal bee fetch KEY --from 192.0.2.7:4000 --store ~/copy

The folder is encrypted; its key opens on this device only. Whoever has a map's key can fetch and read it, unless it is
encrypted; only this folder can write it. Programs written with npm's hyperbee understand it, too.";

const DRIVE_HELP: &str = "\
Examples, in a folder of this machine: no pal and no account are needed. Without --store the drive is on your pal.

  cloudpal drive create photos --store ~/data       makes a drive and prints its key
  cloudpal drive put photos /sea.jpg sea.jpg --store ~/data
  cloudpal drive mirror photos --from ~/Pictures --dry-run --store ~/data
  cloudpal drive ls photos --recursive --store ~/data
  cloudpal drive serve photos --listen 0.0.0.0:4000 --store ~/data
  cloudpal drive fetch KEY --from 192.0.2.7:4000 --name photos --store ~/copy
  cloudpal drive mirror photos --to ~/Pictures/theirs --store ~/copy

The folder is encrypted; its key opens on this device only. Whoever has a drive's key can fetch and read it, unless it is
encrypted; only this folder can write it. Programs written with npm's hyperdrive understand it, too.";

const DB_HELP: &str = "\
Examples, in a folder of this machine: no pal and no account are needed. Without --store they are about a pal's data.

  cloudpal db create home --store ~/data            makes a database and prints its key
  cloudpal db put home tea green --store ~/data
  cloudpal db put home milk '{\"litres\": 2}' --sub shopping --kind json --store ~/data
  cloudpal db scan home --gte a --store ~/data

On another device, which `cloudpal db members home admit` lets in:

  cloudpal db join home KEY --store ~/data          prints the request to send to the owner
  cloudpal db sync home --with 192.0.2.7:4000 --store ~/data
  cloudpal db sync home --with pal --store ~/data   if it is at your pal

For programs and pages, which show a token (programs in JavaScript use the npm package cloudpal-level):

  cloudpal db token add --of home --label laptop --write notes --store ~/data
  cloudpal db serve home --listen 127.0.0.1:7700 --store ~/data

Every device writes, whether the others can be reached or not, and all come to show the same. The folder is encrypted; its
key opens on this device only.";

/// A cloud of your own: keys, credit, pals and the tunnel to them.
#[derive(Debug, Parser)]
#[command(name = "cloudpal", version, about, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    /// Folder of keys and state [default: $XDG_CONFIG_HOME/cloudpal or ~/.config/cloudpal]
    #[arg(long, global = true, env = "CLOUDPAL_CONFIG", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the keys everything else derives from, and print the 24 words to keep
    Init {
        /// Read the 24 words of a recovery kit from standard input instead of making new ones
        #[arg(long)]
        restore: bool,
    },
    /// Buy credit and see what there is
    #[command(subcommand)]
    Credit(CreditCommand),
    /// Create a pal at a data centre; run it again after an interruption and it goes on
    Create {
        /// The host's address, such as http://203.0.113.7:7070
        #[arg(long, value_name = "URL")]
        at: String,
        /// The pal's name: a to z, 0 to 9 and hyphens
        #[arg(long, default_value = "pal")]
        name: String,
        /// Credit to begin with, whole cpm [default: a day awake, or what the purse has]
        #[arg(long, value_name = "CPM")]
        credit: Option<u64>,
    },
    /// List pals, without asking anybody
    List,
    /// Say how pals are: state, credit, cost, why they woke
    Status {
        /// Name or id
        pal: Option<String>,
    },
    /// Fetch the host's receipts
    Receipts {
        /// Name or id [default: the only one]
        pal: Option<String>,
        /// Check signatures, chain and sums of all of them
        #[arg(long)]
        verify: bool,
    },
    /// Open a pal's data disk
    Unlock(OnePal),
    /// Close a pal's data disk: key and plaintext leave its memory
    Lock(OnePal),
    /// Put a pal to sleep
    Sleep(OnePal),
    /// Wake a pal
    Wake(OnePal),
    /// Give a pal more credit
    TopUp {
        /// Name or id
        pal: String,
        /// Whole cpm
        cpm: u64,
    },
    /// Delete a pal with its data; credit it still holds comes back first
    Delete {
        /// Name or id
        pal: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Devices on a pal's private network
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Logs: lists that only grow, and that anybody who has the key can copy and check
    #[command(subcommand, after_help = LOG_HELP)]
    Log(LogCommand),
    /// Sorted maps: keys with values, on a log
    #[command(subcommand, after_help = BEE_HELP)]
    Bee(BeeCommand),
    /// Drives: folders of files, on a log
    #[command(subcommand, after_help = DRIVE_HELP)]
    Drive(DriveCommand),
    /// Databases that several devices write at the same time, offline too
    #[command(subcommand, after_help = DB_HELP)]
    Db(DbCommand),
    /// Unlock pals whenever they wake, until stopped
    Agent,
    /// Open a pal's page through an encrypted tunnel, without root, until Ctrl-C
    Open {
        /// Name or id [default: the only one]
        pal: Option<String>,
        /// Where to listen on this machine; port 0 takes any free one
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Only print the address, start no browser
        #[arg(long)]
        print: bool,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write man pages into a folder
    Man {
        /// Which folder
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
}

/// A pal, or the only one.
#[derive(Debug, Args)]
pub struct OnePal {
    /// Name or id [default: the only one]
    pub pal: Option<String>,
}

/// `cloudpal credit ...`
#[derive(Debug, Subcommand)]
pub enum CreditCommand {
    /// Turn a voucher, read from standard input, into credit
    Buy {
        /// The ticket seller's address
        #[arg(long, value_name = "URL")]
        mint: String,
    },
    /// Say what there is
    Balance,
    /// Finish what was interrupted, and find credit again by the seed
    Recover {
        /// A ticket seller this device does not know yet
        #[arg(long, value_name = "URL")]
        mint: Option<String>,
    },
    /// Take back credit locked for a pal: what it holds unused, and what is past its locktime
    Reclaim {
        /// Name or id [default: the only one]
        pal: Option<String>,
    },
}

/// `cloudpal device ...`
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Add a device: makes its WireGuard config and shows it as a QR code
    Add {
        /// Its name: a to z, 0 to 9 and hyphens
        name: String,
        /// Which pal [default: the only one]
        #[arg(long)]
        pal: Option<String>,
        /// Write the config here instead of into the configuration folder
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        conf: Option<PathBuf>,
        /// Show the QR code although standard output is no terminal
        #[arg(long, overrides_with = "no_qr")]
        qr: bool,
        /// Show no QR code
        #[arg(long)]
        no_qr: bool,
        /// Send only the private network's traffic through the pal, not everything
        #[arg(long)]
        overlay_only: bool,
    },
    /// List devices
    List {
        /// Which pal [default: the only one]
        #[arg(long)]
        pal: Option<String>,
    },
    /// Remove a device: it is cut off at once
    Remove {
        /// Its name
        name: String,
        /// Which pal [default: the only one]
        #[arg(long)]
        pal: Option<String>,
    },
    /// Undo the removal of a device: its old config works again
    Restore {
        /// Its name
        name: String,
        /// Which pal [default: the only one]
        #[arg(long)]
        pal: Option<String>,
    },
}
