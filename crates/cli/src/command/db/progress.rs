//! How far each member's log has come here, and whether all of it has come.

use super::told::Names;
use crate::printable::word;
use cloudpal_base::{Database, Progress};
use serde_json::{Value, json};

/// For programs.
pub fn json(base: &Database) -> Value {
    let names = Names::of(base);
    let one = |progress: Progress| {
        json!({
            "writer": progress.client.to_string(),
            "name": names.get(progress.client),
            "length": progress.length,
            "held": progress.held,
            "read": progress.read,
            "peers": progress.peers,
            "forked": progress.forked,
        })
    };
    base.sync_progress().into_iter().map(one).collect()
}

/// For people.
pub fn lines(base: &Database) -> Vec<String> {
    let names = Names::of(base);
    let locked: Vec<_> = base.progress().locked.iter().map(|writer| writer.client()).collect();
    let line = |progress: Progress| {
        let Progress { client, length, held, read, .. } = progress;
        let state = if progress.forked {
            "its device signed two histories: it must join again with `cloudpal db renew`".to_owned()
        } else if held < length {
            format!("{held} of {length} blocks are here")
        } else if locked.contains(&client) {
            format!("{read} of {length} blocks read; this device has no key for the next")
        } else if read < length {
            format!("{read} of {length} blocks read")
        } else {
            format!("all {length} blocks known of are here")
        };
        format!("  {:<16}  {state}", word(&names.get(client)))
    };
    base.sync_progress().into_iter().map(line).collect()
}
