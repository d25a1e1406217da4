//! The command line of `cloudpal db`.

use super::serve::args::{Serve, TokenCommand};
use super::time::When;
use super::told::BatchId;
use crate::command::data::args::At;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use cloudpal_base::{Durability, Kind};
use std::path::PathBuf;

/// A database.
#[derive(Clone, Debug, Args)]
pub struct Name {
    /// The database's name
    pub name: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// Which part of a database.
#[derive(Clone, Debug, Args)]
pub struct Part {
    /// A sub-database [default: the database itself]
    #[arg(long, value_name = "SUB")]
    pub sub: Option<String>,
    /// How edits of several devices come together there [default: as it is already, else what the command is about]
    #[arg(long, value_parser = kinds())]
    pub kind: Option<Kind>,
}

fn kinds() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.map(Kind::name)).try_map(|name| name.parse::<Kind>())
}

/// How keys and values stand on the command line.
#[derive(Clone, Copy, Debug, Args)]
pub struct Coding {
    /// Keys and values are given as hexadecimal digits
    #[arg(long)]
    pub hex: bool,
    /// Keys and values are given in base64
    #[arg(long, conflicts_with = "hex")]
    pub base64: bool,
}

/// A key of a part of a database.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// The database's name
    pub name: String,
    /// Where
    pub key: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub part: Part,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub coding: Coding,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// When a write counts as done.
#[derive(Clone, Copy, Debug, Args)]
pub struct Lasting {
    /// Return only when it would survive a loss of power
    #[arg(long)]
    pub durable: bool,
}

impl Lasting {
    /// The same in the database's words.
    pub fn durability(self) -> Durability {
        if self.durable { Durability::Durable } else { Durability::Relaxed }
    }
}

/// `cloudpal db put`.
#[derive(Clone, Debug, Args)]
pub struct Put {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub place: Place,
    /// What [default: all of standard input]
    pub value: Option<String>,
    /// Only if the key shows this value here and now
    #[arg(long, value_name = "VALUE")]
    pub if_value: Option<String>,
    /// Only if the key is not there
    #[arg(long, conflicts_with = "if_value")]
    pub if_absent: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub lasting: Lasting,
}

/// Which keys, and what of them.
#[derive(Clone, Debug, Args)]
pub struct Scan {
    /// The database's name
    pub name: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub part: Part,
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
    /// Only keys
    #[arg(long)]
    pub keys: bool,
    /// Only values
    #[arg(long, conflicts_with = "keys")]
    pub values: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub coding: Coding,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// `cloudpal db get`.
#[derive(Clone, Debug, Args)]
pub struct Get {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub place: Place,
    /// As it was then: a day or time such as 2026-11-23T18:00:00Z, or a span back such as 10m
    #[arg(long = "at", value_name = "TIME")]
    pub when: Option<When>,
}

/// `cloudpal db del`.
#[derive(Clone, Debug, Args)]
pub struct Del {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub place: Place,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub lasting: Lasting,
}

/// `cloudpal db add`.
#[derive(Clone, Debug, Args)]
pub struct Add {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub place: Place,
    /// How much; a negative number takes away
    #[arg(allow_negative_numbers = true)]
    pub number: i64,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub lasting: Lasting,
}

/// `cloudpal db include` and `exclude`.
#[derive(Clone, Debug, Args)]
pub struct Member {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub place: Place,
    /// What belongs to the set
    pub member: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub lasting: Lasting,
}

/// `cloudpal db patch`.
#[derive(Clone, Debug, Args)]
pub struct Patch {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub place: Place,
    /// A JSON merge patch: the fields to change, null for those to go
    pub patch: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub lasting: Lasting,
}

/// `cloudpal db splice`.
#[derive(Clone, Debug, Args)]
pub struct Splice {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub place: Place,
    /// Where, as the number of letters before it
    pub position: usize,
    /// What to put there
    #[arg(default_value = "")]
    pub insert: String,
    /// How many letters behind that place go
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub remove: usize,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub lasting: Lasting,
}

/// `cloudpal db index`.
#[derive(Clone, Debug, Args)]
pub struct Index {
    /// The database's name
    pub name: String,
    /// The field: names joined by dots
    pub path: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub part: Part,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// `cloudpal db find`.
#[derive(Clone, Debug, Args)]
pub struct Find {
    /// The database's name
    pub name: String,
    /// The indexed field: names joined by dots
    pub path: String,
    /// From this value on; text, or JSON such as 7 or true
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Up to this value
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub to: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub part: Part,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// `cloudpal db watch`.
#[derive(Clone, Debug, Args)]
pub struct Watch {
    /// The database's name
    pub name: String,
    /// From behind this cursor, which --json prints with each batch, or from the `start` [default: what comes from now on]
    #[arg(long, value_name = "CURSOR")]
    pub from: Option<String>,
    /// Print what there is, and end
    #[arg(long)]
    pub once: bool,
    /// Bring what comes from a device that listens there
    #[arg(long, value_name = "ADDR")]
    pub with: Option<String>,
    /// Wait for other devices there
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// `cloudpal db conflicts`.
#[derive(Clone, Debug, Args)]
pub struct Conflicts {
    /// The database's name
    pub name: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub part: Part,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// `cloudpal db resolve`.
#[derive(Clone, Debug, Args)]
pub struct Resolve {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub place: Place,
    /// The version to keep, by the number that `conflicts` prints
    #[arg(long, value_name = "N", required_unless_present = "value", conflicts_with = "value")]
    pub keep: Option<usize>,
    /// What to write instead of all versions
    #[arg(long, value_name = "VALUE")]
    pub value: Option<String>,
    /// Which field of a document, if several are in conflict
    #[arg(long, value_name = "FIELD", requires = "keep")]
    pub field: Option<String>,
}

/// `cloudpal db undo`.
#[derive(Clone, Debug, Args)]
pub struct Undo {
    /// The database's name
    pub name: String,
    /// Which batch, as `history` and `watch` print it
    pub batch: BatchId,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// `cloudpal db forget`.
#[derive(Clone, Debug, Args)]
pub struct Forget {
    /// The database's name
    pub name: String,
    /// How much history to keep: a span, or the moment with which it begins
    #[arg(long, value_name = "TIME", default_value = "30 days")]
    pub keep: When,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// `cloudpal db join`.
#[derive(Clone, Debug, Args)]
pub struct Join {
    /// What to call it here
    pub name: String,
    /// The database's key, which `cloudpal db info` prints on the other device
    pub key: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// `cloudpal db members`.
#[derive(Clone, Debug, Args)]
pub struct Members {
    /// The database's name
    pub name: String,
    /// What to do [default: list them]
    #[command(subcommand)]
    pub command: Option<MembersCommand>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// What is done about members.
#[derive(Clone, Debug, Subcommand)]
pub enum MembersCommand {
    /// Let a device in
    Admit(Admit),
    /// Cut a device off
    Remove(Remove),
}

/// What a member may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RoleName {
    /// Reads
    Reader,
    /// Reads and writes
    Writer,
    /// Lets in and cuts off readers and writers, too
    Manager,
}

impl RoleName {
    /// As it is told.
    pub const fn name(self) -> &'static str {
        match self {
            RoleName::Reader => "reader",
            RoleName::Writer => "writer",
            RoleName::Manager => "manager",
        }
    }
}

/// `cloudpal db members NAME admit`.
#[derive(Clone, Debug, Args)]
pub struct Admit {
    /// What `cloudpal db join` printed there
    pub request: String,
    /// What to call the device
    #[arg(long = "name", value_name = "DEVICE")]
    pub device: String,
    /// What it may do
    #[arg(long, value_enum, default_value = "writer")]
    pub role: RoleName,
    /// It may write to this sub-database and those below it only; may be given several times
    #[arg(long, value_name = "SUB")]
    pub only: Vec<String>,
    /// It may write until then: a day or time such as 2026-12-31, or a span such as 30d
    #[arg(long, value_name = "DATE")]
    pub until: Option<When>,
}

/// `cloudpal db members NAME remove`.
#[derive(Clone, Debug, Args)]
pub struct Remove {
    /// Its name or id
    pub member: String,
    /// Why, for others to read
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// `cloudpal db renew`.
#[derive(Clone, Debug, Args)]
pub struct Renew {
    /// The database's name
    pub name: String,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// `cloudpal db listen`.
#[derive(Clone, Debug, Args)]
pub struct Listen {
    /// Which database [default: all of the folder]
    pub name: Option<String>,
    /// With --store: where to wait for other devices, such as 0.0.0.0:4000; port 0 takes any free one and prints it
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// `cloudpal db sync`.
#[derive(Clone, Debug, Args)]
pub struct Sync {
    /// The database's name
    pub name: String,
    /// Where the other device listens, such as 192.0.2.7:4000; or `pal`, or `pal:NAME`
    #[arg(long, value_name = "ADDR")]
    pub with: String,
    /// Give up when nothing has come for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub patience: u64,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// `cloudpal db import`.
#[derive(Clone, Debug, Args)]
pub struct Import {
    /// The database's name
    pub name: String,
    /// A file of JSON lines as `export` writes them [default: standard input]
    #[arg(value_hint = ValueHint::FilePath)]
    pub from: Option<PathBuf>,
    /// A LevelDB folder, such as npm's `level` keeps; nothing in it is changed
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "from")]
    pub leveldb: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub part: Part,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// `cloudpal db export`.
#[derive(Clone, Debug, Args)]
pub struct Export {
    /// The database's name
    pub name: String,
    /// The file to write [default: standard output]
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// A new folder for LevelDB, of one sub-database
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "file")]
    pub leveldb: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub part: Part,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it")]
    pub at: At,
}

/// `cloudpal db ...`
#[derive(Clone, Debug, Subcommand)]
pub enum DbCommand {
    /// Make a database; this device, or the pal, is its owner
    Create(Name),
    /// Ask to be let into a database of another device
    Join(Join),
    /// List databases
    List(At),
    /// Say how it stands: members, how far their logs have come, conflicts, what was refused
    Info(Name),
    /// Put a value at a key
    Put(Put),
    /// Print the value of a key
    Get(Get),
    /// Delete a key
    Del(Del),
    /// Add to a counter
    Add(Add),
    /// Take something into a set
    Include(Member),
    /// Let something out of a set
    Exclude(Member),
    /// Change fields of a document
    Patch(Patch),
    /// Put letters into a text, or take some out
    Splice(Splice),
    /// Print entries in the order of their keys
    Scan(Scan),
    /// Index a field of documents, for ever
    Index(Index),
    /// Find documents by an indexed field
    Find(Find),
    /// Print what changes, as it comes
    Watch(Watch),
    /// Print what devices wrote without knowing of each other
    Conflicts(Conflicts),
    /// Settle a conflict
    Resolve(Resolve),
    /// Print what was done to a key
    History(Place),
    /// Make the keys of a batch show what they did before it
    Undo(Undo),
    /// Make a checkpoint, with which new devices begin
    Checkpoint(Name),
    /// Let go of old history that lies before the checkpoint
    Forget(Forget),
    /// List members, let a device in, or cut one off
    Members(Members),
    /// Ask to come back with a new log: after a backup was restored, or this device was removed
    Renew(Renew),
    /// Wait for other devices until Ctrl-C; or say where a pal waits for them
    Listen(Listen),
    /// Bring this device and another one up to date
    Sync(Sync),
    /// Serve a database to programs and pages with a token, over HTTP and WebSocket, until Ctrl-C; or say where a pal does
    Serve(Serve),
    /// Tokens: who may use a database that is served
    #[command(subcommand)]
    Token(TokenCommand),
    /// Put in everything of a file or of a LevelDB folder
    Import(Import),
    /// Write everything as JSON lines, or a part as a LevelDB folder
    Export(Export),
}
