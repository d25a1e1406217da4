//! The command line of `cloudpal db serve` and `cloudpal db token`.

use crate::command::data::args::At;
use clap::{Args, Subcommand};

/// A database to serve.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Its name
    pub name: String,
    /// With --store: where to wait, such as 127.0.0.1:7700; port 0 takes any free one and prints it. There is no encryption
    /// on the way: across machines use your private network
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    #[command(flatten)]
    pub at: At,
}

/// What to do with tokens. They can be added and revoked while the database is served.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it: this once, as only a hash of it is kept
    Add(Add),
    /// List tokens: their ids, what they open and until when
    List(Tokens),
    /// Make a token worthless, at once
    Revoke {
        /// Its id, or how it begins
        id: String,
        #[command(flatten)]
        tokens: Tokens,
    },
}

/// The tokens of a database.
#[derive(Clone, Debug, Args)]
pub struct Tokens {
    /// The database's name
    #[arg(long = "of", value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub at: At,
}

/// A token to make.
#[derive(Clone, Debug, Args)]
pub struct Add {
    #[command(flatten)]
    pub tokens: Tokens,
    /// For whom or what it is, for you to tell tokens apart
    #[arg(long)]
    pub label: String,
    /// Let it read this sub-database and those below it; "" is all of them. Can be given several times
    #[arg(long, value_name = "SUB")]
    pub read: Vec<String>,
    /// Let it read and write this one and those below it
    #[arg(long, value_name = "SUB", required_unless_present = "read")]
    pub write: Vec<String>,
    /// It is worth nothing after so many days
    #[arg(long, value_name = "N")]
    pub days: Option<u32>,
}
