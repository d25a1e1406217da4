//! Whether an entry of somebody else may change the view: a pure question of the entry and the member who wrote it, so that
//! every replica answers alike.

use crate::members::Member;
use crate::sub::Kind;
use crate::wire::{Base, Entry, Op};
use crate::{ClientId, Dot, Heads, Sub, json, row, text};

/// Why an entry changes nothing. Its log goes on behind it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The block cannot be read.
    #[error("the block cannot be read: {0}")]
    Block(String),
    /// The entry cannot be read.
    #[error("the entry cannot be read: {0}")]
    Entry(String),
    /// It does not open under the key it names.
    #[error("the entry does not open under the key it names")]
    Sealed,
    /// The writer may not write there.
    #[error("its writer may not write to {0}")]
    Rights(Sub),
    /// A change that this kind of sub-database does not have.
    #[error("a change that {0} does not have")]
    Change(Sub),
    /// It says to have seen more of its own log than there was, or names a total of a counter that it has not seen.
    #[error("it says to have seen what it cannot have seen")]
    Future,
    /// A record that counts for nothing.
    #[error("a record that counts for nothing: {0}")]
    Record(&'static str),
}

/// Whether `member` may write `entry`, and all of it makes sense.
pub(crate) fn check(entry: &Entry, member: &Member, dot: Dot, seen: &Heads) -> Result<(), Fault> {
    // An entry without changes only says what was seen.
    for op in &entry.ops {
        let sub = entry.sub(op);
        if !member.may_write(sub, entry.stamp.wall_ms) {
            return Err(Fault::Rights(sub.clone()));
        }
        if !fits(sub.kind(), op, dot.client) {
            return Err(Fault::Change(sub.clone()));
        }
        if let Op::Reset { bases, .. } = op
            && bases.iter().any(|base| !was_seen(base, dot, seen))
        {
            return Err(Fault::Future);
        }
    }
    Ok(())
}

/// Whether a total lies where an entry at `dot` could see it.
fn was_seen(base: &Base, dot: Dot, seen: &Heads) -> bool {
    if base.client == dot.client {
        base.position <= dot.position
    } else {
        seen.contains(Dot { client: base.client, position: base.position })
    }
}

fn fits(kind: Kind, op: &Op, client: ClientId) -> bool {
    match (kind, op) {
        (Kind::Register, Op::Set { path, .. } | Op::Kill { path, .. }) => path.is_empty(),
        (Kind::Json, Op::Set { path, value, .. }) => json::is_path(path) && json::is_leaf(value),
        (Kind::Json, Op::Kill { path, .. }) => json::is_path(path),
        (Kind::Set, Op::Set { path, value, .. }) => row::member_of(path).is_some() && value.is_empty(),
        (Kind::Set, Op::Kill { path, .. }) => path.is_empty() || row::member_of(path).is_some(),
        (Kind::Text, Op::Kill { path, .. }) => path.is_empty(),
        (Kind::Text, Op::Text { update, .. }) => text::is_update(update, client),
        (Kind::Counter, Op::Total { .. } | Op::Reset { .. }) => true,
        (Kind::Counter, _) => false,
        (Kind::Register | Kind::Json | Kind::Set, Op::Clear { .. }) => true,
        (Kind::Register | Kind::Json, Op::Index { path, .. }) => !path.is_empty() && path.len() <= 255,
        _ => false,
    }
}
