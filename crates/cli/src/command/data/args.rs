//! The command line of `cloudpal log`, `cloudpal bee` and `cloudpal drive`.

use clap::{Args, Subcommand, ValueHint};
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the data is.
#[derive(Clone, Debug, Args)]
pub struct At {
    /// A folder on this machine that holds the data; `create` and `fetch` make it [default: the data of a pal]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub store: Option<PathBuf>,
    /// Which pal [default: the only one]; on its network also by its page: http://home.NAME.internal
    #[arg(long, global = true, conflicts_with = "store")]
    pub pal: Option<String>,
}

/// What is to be made.
#[derive(Clone, Debug, Args)]
pub struct Create {
    /// Its name, for you alone; others know it by its key
    pub name: String,
    /// Sign as npm hypercore 10 does by default, for peers that are as old
    #[arg(long)]
    pub compat: bool,
    /// Encrypt it: who has only its key can pass it on, but not read it
    #[arg(long)]
    pub encrypt: bool,
    /// Keep the encryption key in this file for those who are to read it; a key that is there already is used
    #[arg(long, value_name = "FILE", requires = "encrypt", value_hint = ValueHint::FilePath)]
    pub encryption_key: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// One that is there already.
#[derive(Clone, Debug, Args)]
pub struct One {
    /// Its name or key
    pub name: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// Waiting for peers.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Print the key of this one; all others in the folder are served too, to those who know their keys
    pub name: Option<String>,
    /// Where to wait for peers, such as 0.0.0.0:4000; port 0 takes any free one and prints it
    #[arg(long, value_name = "ADDR", requires = "store")]
    pub listen: Option<String>,
    /// Announce the one of that name on the DHT, where whoever has its key finds it. The DHT is public: its nodes,
    /// and all who have the key, learn this computer's address and that it has this
    #[arg(long, requires_all = ["store", "name"])]
    pub dht: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub table: Table,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// Which distributed hash table.
#[derive(Clone, Debug, Args)]
pub struct Table {
    /// Nodes of another DHT, such as 192.0.2.7:49737; may be repeated [default: the public one of npm hyperswarm]
    #[arg(long, value_name = "ADDR", requires = "dht")]
    pub bootstrap: Vec<String>,
}

/// Bringing something from a peer.
#[derive(Clone, Debug, Args)]
pub struct Fetch {
    /// The key, as hexadecimal digits or as npm prints it; or the name of what was fetched before
    pub key: String,
    /// The peer's address, such as 192.0.2.7:4000
    #[arg(long, value_name = "ADDR", required_unless_present = "dht")]
    pub from: Option<String>,
    /// Look on the DHT for whoever has it. The DHT is public: its nodes learn this computer's address and what it looks
    /// for, and those who announced it learn the address
    #[arg(long, requires = "store", conflicts_with = "from")]
    pub dht: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub table: Table,
    /// What to call it here [default: the beginning of its key]
    #[arg(long)]
    pub name: Option<String>,
    /// Only these blocks, such as 0..100, into a folder
    #[arg(long, value_name = "A..B")]
    pub blocks: Option<Blocks>,
    /// Go on until Ctrl-C, and tell whatever comes
    #[arg(long)]
    pub live: bool,
    /// The file with the encryption key of an encrypted one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub encryption_key: Option<PathBuf>,
    /// Give up when nothing has come for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub patience: u64,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// `A..B`, `A..`, `..B` or `N` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks(pub Range<u64>);

impl FromStr for Blocks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str, default: u64| match text {
            "" => Ok(default),
            text => text.parse::<u64>().map_err(|_| format!("`{text}` is no number")),
        };
        let range = match text.split_once("..") {
            Some((from, to)) => number(from, 0)?..number(to, u64::MAX)?,
            None => {
                let one: u64 =
                    text.parse().map_err(|_| "say 7 for one, or 0..100 for the first hundred".to_owned())?;
                one..one.saturating_add(1)
            }
        };
        match range.start < range.end {
            true => Ok(Blocks(range)),
            false => Err(format!("{text} holds nothing: the second number is the first that is left out")),
        }
    }
}

/// `cloudpal log ...`
#[derive(Clone, Debug, Subcommand)]
pub enum LogCommand {
    /// Make a log
    Create(Create),
    /// Add lines from standard input, or a file cut into blocks
    Append {
        /// Its name or key
        name: String,
        /// A file to be cut into blocks [default: lines of standard input, one block each]
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// Bytes of each block of a file
        #[arg(long, value_name = "BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=15_000_000))]
        cut: u32,
        /// Make each line of the file a block
        #[arg(long, conflicts_with = "cut")]
        lines: bool,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would print it")]
        at: At,
    },
    /// Print blocks
    Get {
        /// Its name or key
        name: String,
        /// Which ones: 7, or 0..100
        #[arg(default_value = "0..")]
        blocks: Blocks,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would print it")]
        at: At,
    },
    /// Say how long it is, how much is held here, and its keys and hashes
    Info(One),
    /// Cut it to its first blocks; peers learn of the new history
    Truncate {
        /// Its name or key
        name: String,
        /// How many blocks stay
        length: u64,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would print it")]
        at: At,
    },
    /// Free the disk that blocks take here; they stay part of the log
    Clear {
        /// Its name or key
        name: String,
        /// Which ones: 7, or 0..100
        blocks: Blocks,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would print it")]
        at: At,
    },
    /// Read every block back and check it
    Verify(One),
    /// List logs
    List(At),
    /// Wait for peers, npm ones included, until Ctrl-C; a pal does by itself, and says where
    Serve(Serve),
    /// Bring a log, or some blocks of it, from a peer
    Fetch(Fetch),
}

/// `cloudpal bee ...`
#[derive(Clone, Debug, Subcommand)]
pub enum BeeCommand {
    /// Make a sorted map
    Create(Create),
    /// Put a value at a key
    Put {
        /// The map's name or key
        name: String,
        /// Where
        key: String,
        /// What [default: all of standard input]
        value: Option<String>,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would print it")]
        at: At,
    },
    /// Print the value of a key
    Get {
        /// The map's name or key
        name: String,
        /// Where
        key: String,
        /// As it was at this version
        #[arg(long, value_name = "VERSION")]
        at_version: Option<u64>,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would print it")]
        at: At,
    },
    /// Delete a key
    Del {
        /// The map's name or key
        name: String,
        /// Which
        key: String,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would print it")]
        at: At,
    },
    /// Print entries in the order of their keys
    Scan {
        /// The map's name or key
        name: String,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would print it")]
        range: ScanRange,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would print it")]
        at: At,
    },
    /// Print what was done to it
    History {
        /// The map's name or key
        name: String,
        /// Newest first
        #[arg(long)]
        reverse: bool,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would print it")]
        at: At,
    },
    /// Say how long its log is, how much is held here, and its keys and hashes
    Info(One),
    /// List sorted maps
    List(At),
    /// Wait for peers, npm ones included, until Ctrl-C; a pal does by itself, and says where
    Serve(Serve),
    /// Bring a map from a peer
    Fetch(Fetch),
}

/// Which entries.
#[derive(Clone, Debug, Default, Args)]
pub struct ScanRange {
    /// Keys that begin so
    #[arg(long, conflicts_with_all = ["gt", "gte", "lt", "lte"])]
    pub prefix: Option<String>,
    /// Keys after this one
    #[arg(long, value_name = "KEY", conflicts_with = "gte")]
    pub gt: Option<String>,
    /// This key and those after it
    #[arg(long, value_name = "KEY")]
    pub gte: Option<String>,
    /// Keys before this one
    #[arg(long, value_name = "KEY", conflicts_with = "lte")]
    pub lt: Option<String>,
    /// This key and those before it
    #[arg(long, value_name = "KEY")]
    pub lte: Option<String>,
    /// Last key first
    #[arg(long)]
    pub reverse: bool,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// As it was at this version
    #[arg(long, value_name = "VERSION")]
    pub at_version: Option<u64>,
}

/// `cloudpal drive ...`
#[derive(Clone, Debug, Subcommand)]
pub enum DriveCommand {
    /// Make a drive
    Create(Create),
    /// Put a file into a drive
    Put {
        /// The drive's name or key
        name: String,
        /// Where in the drive, such as /photos/sea.jpg
        path: String,
        /// The file [default: standard input]
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// It may be run as a program
        #[arg(long)]
        executable: bool,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would print it")]
        at: At,
    },
    /// Write a file of a drive to a file or to standard output
    Get {
        /// The drive's name or key
        name: String,
        /// Where in the drive
        path: String,
        /// Where to [default: standard output]
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// Only these bytes, such as 0..1000
        #[arg(long, value_name = "A..B")]
        bytes: Option<Blocks>,
        /// As it was at this version
        #[arg(long, value_name = "VERSION")]
        at_version: Option<u64>,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would print it")]
        at: At,
    },
    /// List files
    Ls {
        /// The drive's name or key
        name: String,
        /// Which folder
        #[arg(default_value = "/")]
        folder: String,
        /// Everything below, too
        #[arg(long, short)]
        recursive: bool,
        /// As it was at this version
        #[arg(long, value_name = "VERSION")]
        at_version: Option<u64>,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would print it")]
        at: At,
    },
    /// Remove a file and free its disk
    Rm {
        /// The drive's name or key
        name: String,
        /// Where in the drive
        path: String,
        /// Keep its content for older versions
        #[arg(long)]
        keep: bool,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would print it")]
        at: At,
    },
    /// Make a drive equal to a folder, or a folder equal to a drive; nothing is deleted unasked
    Mirror(Mirror),
    /// Say how long its log is, how much is held here, and its keys and hashes
    Info(One),
    /// List drives
    List(At),
    /// Wait for peers, npm ones included, until Ctrl-C; a pal does by itself, and says where
    Serve(Serve),
    /// Bring a drive from a peer
    Fetch(Fetch),
}

/// A mirror.
#[derive(Clone, Debug, Args)]
pub struct Mirror {
    /// The drive's name or key
    pub name: String,
    /// Make the drive equal to this folder
    #[arg(long, value_name = "FOLDER", required_unless_present = "to", conflicts_with = "to", value_hint = ValueHint::DirPath)]
    pub from: Option<PathBuf>,
    /// Make this folder equal to the drive
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub to: Option<PathBuf>,
    /// The drive as it was at this version
    #[arg(long, value_name = "VERSION", conflicts_with = "from")]
    pub at_version: Option<u64>,
    /// Delete files that only the side to be changed has [default: ask on a terminal, else keep them]
    #[arg(long)]
    pub delete: bool,
    /// Delete even if nothing is left then
    #[arg(long, requires = "delete")]
    pub allow_empty: bool,
    /// Keep files that only the side to be changed has, and do not ask
    #[arg(long, conflicts_with = "delete")]
    pub keep: bool,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_what_they_look_like() {
        let range = |text: &str| text.parse::<Blocks>().map(|blocks| blocks.0);
        assert_eq!(range("7"), Ok(7..8));
        assert_eq!(range("0..100"), Ok(0..100));
        assert_eq!(range("5.."), Ok(5..u64::MAX));
        assert_eq!(range("..5"), Ok(0..5));
        for wrong in ["", "x", "5..5", "6..2", "1..x", "-1", "..0"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
