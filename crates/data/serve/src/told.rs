//! What clients are told of changes, conflicts and members: the same on the WebSocket and as JSON.

use crate::code::Failure;
use bytes::Bytes;
use cloudpal_base::{ClientId, Conflict, Did, Member, Role, Snapshot, Sub, Version};
use std::collections::BTreeSet;

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The key shows this now.
    Put(Bytes, Bytes),
    /// The key is gone now.
    Del(Bytes),
    /// Everything seen from the first key up to, not including, the second (none: to the end) was removed.
    Clear(Bytes, Option<Bytes>),
}

/// A change of a sub-database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldChange {
    /// Where.
    pub sub: Sub,
    /// What.
    pub what: What,
    /// By whom.
    pub writer: ClientId,
    /// When, by its writer's clock: milliseconds since 1970.
    pub wall_ms: u64,
}

/// What a batch changed, a key once, with what it shows in `view`: what somebody has overwritten since is told with the
/// newer value, and told again then. `wanted`: which sub-databases.
pub fn changes(
    did: &Did,
    view: &Snapshot,
    wanted: impl Fn(&Sub) -> bool,
) -> Result<Vec<ToldChange>, Failure> {
    let mut known = BTreeSet::new();
    let mut told = Vec::new();
    for edit in did.edits.iter().filter(|edit| wanted(&edit.sub)) {
        let what = match (&edit.range, &edit.key) {
            (Some((from, to)), _) => What::Clear(from.clone(), to.clone()),
            (None, Some(key)) if known.insert((&edit.sub, key)) => {
                match view.get(&edit.sub, key).map_err(|error| Failure::of_database(&error))? {
                    Some(value) => What::Put(key.clone(), value),
                    None => What::Del(key.clone()),
                }
            }
            _ => continue,
        };
        told.push(ToldChange {
            sub: edit.sub.clone(),
            what,
            writer: did.dot.client,
            wall_ms: did.stamp.wall_ms,
        });
    }
    Ok(told)
}

/// Bytes of a writer's short id.
pub fn writer(client: ClientId) -> [u8; ClientId::LEN] {
    let mut id = [0; ClientId::LEN];
    id.copy_from_slice(&client.get().to_be_bytes()[8 - ClientId::LEN..]);
    id
}

/// The version that is shown, then those that lost.
pub fn versions(conflict: &Conflict) -> impl Iterator<Item = &Version> {
    std::iter::once(&conflict.shown).chain(&conflict.lost)
}

/// What a member may do, in a word.
pub fn role(member: &Member) -> &'static str {
    match (member.cut.is_some(), member.rights.role) {
        (true, _) => "removed",
        (false, Role::Reader) => "reader",
        (false, Role::Writer) => "writer",
        (false, Role::Manager) => "manager",
    }
}
