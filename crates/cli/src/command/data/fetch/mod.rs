//! `fetch`: bringing a log, map or drive from a peer, into a folder of this machine or to a pal.

mod folder;
mod pal;
mod way;

use super::args::Fetch;
use super::{Desk, Place};
use crate::failure::{Exit, Failure};
use crate::local::{self, stop::Stop};
use crate::told::{keys, text};
use cloudpal_shelf::{Key, Kind};
use serde_json::Value;

/// Brings what was asked for, and prints what came.
pub fn run(desk: Desk<'_>, kind: Kind, wanted: &Fetch) -> Result<(), Failure> {
    if kind == Kind::Drive && wanted.blocks.is_some() {
        let message =
            "a drive has two logs, so --blocks is for logs and maps; `cloudpal drive get` takes --bytes";
        return Err(Failure::new(Exit::Usage, message));
    }
    if wanted.at.store.as_ref().is_some_and(|dir| !local::has_store(dir)) {
        // Without a key there is nothing to make a folder for.
        wanted.key.parse::<Key>().map_err(|error| Failure::lift(Exit::Usage, error))?;
    }
    // First, so that the threads of a store or tunnel leave the signals to us.
    let stop = Stop::catch()?;
    match desk.open_or_make(&wanted.at)? {
        Place::Folder(shelf) => folder::run(desk, kind, wanted, stop, shelf),
        Place::Pal(pal) => pal::run(desk, kind, wanted, &stop, &pal),
    }
}

/// What is here, for a person.
fn sentence(about: &Value) -> String {
    let what = match about["kind"].as_str() {
        Some("bee") if about["entries"].is_u64() => format!("{} entries", about["entries"]),
        Some("drive") if about["files"].is_u64() => {
            format!("{} files with {} bytes", about["files"], about["files_bytes"])
        }
        _ => format!("{} of {} blocks", about["held"], about["length"]),
    };
    let mut lines = vec![format!("{}: {what} are here, fork {}.", text(about, "name"), about["fork"])];
    lines.push(keys(about));
    lines.push(format!("  tree hash    {}", text(about, "tree_hash")));
    lines.join("\n")
}
