//! Whether an entry of somebody else may change the view: a pure question of the entry and the member who wrote it, so that
//! every replica answers alike.

use crate::members::Member;
use crate::sub::Kind;
use crate::wire::{Entry, Op};
use crate::{Sub, json, text};

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
    /// It says to have seen more of its own log than there was.
    #[error("it says to have seen its own future")]
    Future,
}

/// Whether `member` may write `entry`, and all of it makes sense.
pub(crate) fn check(entry: &Entry, member: &Member) -> Result<(), Fault> {
    // An entry without changes only says what was seen.
    for op in &entry.ops {
        let sub = entry.sub(op);
        if !member.may_write(sub, entry.stamp.wall_ms) {
            return Err(Fault::Rights(sub.clone()));
        }
        if !fits(sub.kind(), op) {
            return Err(Fault::Change(sub.clone()));
        }
    }
    Ok(())
}

fn fits(kind: Kind, op: &Op) -> bool {
    match (kind, op) {
        (Kind::Register, Op::Set { path, .. } | Op::Kill { path, .. }) => path.is_empty(),
        (Kind::Json, Op::Set { path, value, .. }) => json::is_path(path) && json::is_leaf(value),
        (Kind::Json, Op::Kill { path, .. }) => json::is_path(path),
        (Kind::Set, Op::Set { value, .. }) => value.is_empty(),
        (Kind::Set, Op::Kill { .. }) => true,
        (Kind::Text, Op::Kill { path, .. }) => path.is_empty(),
        (Kind::Text, Op::Text { update, .. }) => text::is_update(update),
        (Kind::Counter, Op::Total { .. } | Op::Reset { .. }) => true,
        (Kind::Counter, _) => false,
        (Kind::Register | Kind::Json | Kind::Set, Op::Clear { .. }) => true,
        (Kind::Register | Kind::Json, Op::Index { path, .. }) => !path.is_empty() && path.len() <= 255,
        _ => false,
    }
}
