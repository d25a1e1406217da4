//! Settling a conflict: one of its versions, or something else, takes the place of all that were seen.

use crate::{
    Batch, Conflict, Database, Dot, Durability, Kind, ReadError, Sub, WriteError, WriteFault, Written,
};
use bytes::Bytes;
use serde_json::{Value, json};

/// How a conflict is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Where.
    pub sub: Sub,
    /// Which key.
    pub key: Bytes,
    /// Which field of a document, as the [conflict](Conflict::path) has it; empty for a register.
    pub path: Bytes,
    /// The versions that whoever decides has seen, by where they were written. If there are others now, nothing is done.
    pub seen: Vec<Dot>,
    /// What takes their place.
    pub choice: Choice,
}

/// What takes the place of the versions of a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The version that was written there.
    Keep(Dot),
    /// A value of the key; of a document the whole of it.
    Value(Bytes),
}

/// Why a conflict was not settled. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// There is none.
    #[error("there is no such conflict; somebody may have settled it")]
    Missing,
    /// Others wrote meanwhile.
    #[error("the conflict has other versions than those that were seen: look at it again")]
    Changed,
    /// The version to keep is none of them.
    #[error("the version to keep is none of the conflict's")]
    Unknown,
    /// It lies in an array, or is an object or array itself.
    #[error(
        "this part of a document cannot be taken over alone: give the whole document, or keep the version that is shown"
    )]
    Part,
    /// Reading it.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing what takes its place.
    #[error(transparent)]
    Write(WriteFault),
}

impl From<WriteFault> for ResolveError {
    fn from(fault: WriteFault) -> Self {
        match fault {
            WriteFault::Refused(WriteError::Versions { .. } | WriteError::Condition { .. }) => {
                ResolveError::Changed
            }
            fault => ResolveError::Write(fault),
        }
    }
}

impl Database {
    /// Settles a conflict. What others wrote without having been seen by whoever decided is never settled with it.
    pub fn resolve(&self, resolution: &Resolution, durability: Durability) -> Result<Written, ResolveError> {
        let Resolution { sub, key, path, seen, choice } = resolution;
        let view = self.snapshot();
        let conflict = view.conflict(sub, key, path)?.ok_or(ResolveError::Missing)?;
        let mut batch = Batch::new();
        batch.expect_versions(sub, key.clone(), path.clone(), seen.clone());
        match choice {
            Choice::Value(value) => rewrite(&mut batch, sub, key, value.clone()),
            Choice::Keep(dot) => {
                let mut versions = std::iter::once(&conflict.shown).chain(&conflict.lost);
                let kept = versions.find(|version| version.dot == *dot);
                // One that was seen is gone from a conflict only if somebody wrote.
                let missing =
                    || if seen.contains(dot) { ResolveError::Changed } else { ResolveError::Unknown };
                let kept = kept.ok_or_else(missing)?;
                let value = conflict.says(kept);
                if sub.kind() != Kind::Json {
                    rewrite(&mut batch, sub, key, value);
                } else if !keep_field(&mut batch, &conflict, &value) {
                    if kept.dot != conflict.shown.dot {
                        return Err(ResolveError::Part);
                    }
                    // The whole document is written anew, so none of it may have changed.
                    let shown = view.get(sub, key)?;
                    batch.expect(sub, key.clone(), shown.clone());
                    rewrite(&mut batch, sub, key, shown.unwrap_or_default());
                }
            }
        }
        Ok(self.write(batch, durability)?)
    }
}

/// Writes a scalar to the field of a conflict; false if it is none, or has no names that lead to it.
fn keep_field(batch: &mut Batch, conflict: &Conflict, value: &[u8]) -> bool {
    let scalar =
        serde_json::from_slice(value).ok().filter(|value: &Value| !value.is_object() && !value.is_array());
    let fields = conflict.fields().filter(|fields| !fields.is_empty());
    let (Some(fields), Some(scalar)) = (fields, scalar) else { return false };
    // A merge patch takes null for a field that is to go.
    if scalar.is_null() {
        return false;
    }
    // Gone first: what does not differ is not written, and would settle nothing.
    for value in [Value::Null, scalar] {
        let patch = fields.iter().rev().fold(value, |inner, name| json!({ name: inner }));
        batch.patch(&conflict.sub, conflict.key.clone(), patch.to_string());
    }
    true
}

/// Writes a value as if nothing had been there.
fn rewrite(batch: &mut Batch, sub: &Sub, key: &Bytes, value: Bytes) {
    if sub.kind() == Kind::Json {
        batch.del(sub, key.clone());
    }
    batch.put(sub, key.clone(), value);
}
