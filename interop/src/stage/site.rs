//! Which peers there are and how each is started.

use anyhow::{Context as _, Result};
use serde::Serialize;
use std::path::PathBuf;
use std::process::Command;

/// An implementation that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `cloudpal-store` and what lies on it.
    Ours,
    /// npm hypercore 11 with corestore, hyperbee and hyperdrive.
    Eleven,
    /// npm hypercore 10, the long-term release.
    Ten,
}

/// Where programs lie.
#[derive(Clone, Debug)]
pub struct Site {
    /// The program that runs JavaScript.
    pub node: PathBuf,
    /// The folder of the npm peers, with `node_modules` in it.
    pub peers: PathBuf,
}

impl Site {
    /// The command that starts a peer.
    pub fn command(&self, kind: Kind) -> Result<Command> {
        let script = match kind {
            Kind::Ours => {
                let me = std::env::current_exe().context("cannot find out where this program itself lies")?;
                let mut command = Command::new(me);
                command.arg("peer");
                return Ok(command);
            }
            Kind::Eleven => "eleven.mjs",
            Kind::Ten => "ten.mjs",
        };
        let mut command = Command::new(&self.node);
        command.arg(self.peers.join(script));
        Ok(command)
    }
}
