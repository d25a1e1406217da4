//! What a database shows, read whole.

use super::program::{INDEXED, KINDS, LAST, Room};
use anyhow::{Context as _, Result, ensure};
use cloudpal_base::{Kind, Range, ReadError, Snapshot};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

/// Every key of every sub-database, and what it shows.
pub type Shown = BTreeMap<(Room, String), Value>;

/// Reads everything, and whether the index says the same as the documents.
pub fn show(snapshot: &Snapshot) -> Result<Shown> {
    let mut shown = Shown::new();
    for room in Room::ALL {
        let sub = room.sub();
        let mut rows = Vec::new();
        snapshot.scan(&sub, &Range::default(), &mut |key, value| {
            rows.push((String::from_utf8_lossy(key).into_owned(), value.clone()));
            ControlFlow::Continue(())
        })?;
        for (key, bytes) in rows {
            let value = match sub.kind() {
                Kind::Register | Kind::Text => json!(std::str::from_utf8(&bytes).context("no text")?),
                _ => serde_json::from_slice(&bytes).context("no JSON")?,
            };
            shown.insert((room, key), value);
        }
    }
    for kind in KINDS {
        let found = find(snapshot, kind)?;
        let there = shown.iter().filter(|((room, _), document)| {
            *room == Room::Notes && document.get(INDEXED).is_some_and(|field| field == kind)
        });
        let there: BTreeSet<String> = there.map(|((_, key), _)| key.clone()).collect();
        ensure!(found == there, "the index has {found:?} for {kind}, the documents {there:?}");
    }
    Ok(shown)
}

fn find(snapshot: &Snapshot, kind: &str) -> Result<BTreeSet<String>, ReadError> {
    let (mut found, kind) = (BTreeSet::new(), json!(kind));
    let bounds = (Bound::Included(&kind), Bound::Included(&kind));
    snapshot.find(&Room::Notes.sub(), INDEXED, bounds, &mut |key| {
        found.insert(String::from_utf8_lossy(key).into_owned());
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// How what is shown differs from what may be, for people.
pub fn difference(shown: &Shown, states: &[&Shown]) -> String {
    let last = |state: &Shown| state.get(&(Room::Root, LAST.to_owned())).cloned().unwrap_or_default();
    let expected: Vec<Value> = states.iter().map(|state| last(state)).collect();
    let same = states.iter().find(|state| last(state) == last(shown));
    let wrong = same.map(|state| {
        let keys = shown.keys().chain(state.keys()).filter(|key| shown.get(key) != state.get(key));
        keys.map(|(room, key)| format!("{room:?} {key}")).collect::<BTreeSet<_>>()
    });
    format!("it shows step {}, where it must be one of {expected:?}; different there: {wrong:?}", last(shown))
}
