//! Finding documents by a field, and settling conflicts.

use super::Session;
use super::read::{MAX_ENTRIES, MAX_PAGE};
use super::write::refused;
use crate::code::{Code, Failure};
use crate::token::Right;
use crate::wire::{self, Answer, Find, Found};
use bytes::Bytes;
use cloudpal_base::{Durability, Order, Resolution, ResolveError, Snapshot, Terms, Written};
use cloudpal_log::codec::Write as _;
use serde_json::Value;
use std::ops::{Bound, ControlFlow};

impl Session {
    pub(super) fn find(&self, wanted: &Find) -> Result<Answer, Failure> {
        let Find { sub, path, .. } = wanted;
        self.access.demand(Right::Read, sub)?;
        if !self.service.database.has_index(sub, path) {
            let message =
                format!("{sub} has no index on {path}; declare it by a batch with the change index");
            return Err(Failure::new(Code::NotFound, message));
        }
        let view = self.view(wanted.snapshot)?;
        let (from, to) = (value(&wanted.bounds.lower)?, value(&wanted.bounds.upper)?);
        let order = if wanted.reverse { Order::Descending } else { Order::Ascending };
        let terms = Terms { from: from.as_ref(), to: to.as_ref(), order, after: wanted.after.as_deref() };
        let (limit, bytes) = (wanted.limit.min(MAX_ENTRIES), wanted.bytes.min(MAX_PAGE));
        let mut found = Found::default();
        found.page.last = true;
        let mut failed = None;
        let walked = view.find_from(sub, path, &terms, &mut |place, key| {
            let page = &mut found.page;
            if page.count == limit || page.entries.len() as u64 >= bytes && page.count > 0 {
                page.last = false;
                return ControlFlow::Break(());
            }
            if let Err(failure) = entry(&mut page.entries, &view, wanted, key) {
                failed = Some(failure);
                return ControlFlow::Break(());
            }
            page.count += 1;
            place.clone_into(&mut found.place);
            ControlFlow::Continue(())
        });
        walked.map_err(|error| Failure::of_database(&error))?;
        failed.map_or(Ok(Answer::Found(found)), Err)
    }

    pub(super) fn resolve(&self, wanted: &Resolution, durability: Durability) -> Result<Answer, Failure> {
        self.resolve_told(wanted, durability).map(|_| Answer::Done)
    }

    /// The same for whoever wants to know where it lies.
    pub fn resolve_told(&self, wanted: &Resolution, durability: Durability) -> Result<Written, Failure> {
        self.access.demand(Right::Write, &wanted.sub)?;
        let resolved = self.service.database.resolve(wanted, durability);
        resolved.map_err(|error| match &error {
            ResolveError::Write(fault) => refused(fault),
            ResolveError::Missing => Failure::new(Code::NotFound, error.to_string()),
            ResolveError::Changed => Failure::new(Code::Condition, error.to_string()),
            ResolveError::Unknown | ResolveError::Part => Failure::new(Code::Invalid, error.to_string()),
            error => Failure::of_database(error),
        })
    }
}

fn entry(out: &mut Vec<u8>, view: &Snapshot, wanted: &Find, key: &[u8]) -> Result<(), Failure> {
    out.buffer(key);
    if wanted.values {
        let value = view.get(&wanted.sub, key).map_err(|error| Failure::of_database(&error))?;
        out.buffer(&value.unwrap_or_default());
    }
    Ok(())
}

/// A bound as the index has it: a scalar of JSON.
fn value(bound: &wire::Bound) -> Result<Bound<Value>, Failure> {
    let scalar = |json: &Bytes| match serde_json::from_slice(json) {
        Ok(Value::Object(_) | Value::Array(_)) | Err(_) => {
            let message = "a bound is a text, number, true, false or null, as JSON; only those are indexed";
            Err(Failure::new(Code::Invalid, message))
        }
        Ok(value) => Ok(value),
    };
    Ok(match bound {
        wire::Bound::Open => Bound::Unbounded,
        wire::Bound::Excluding(json) => Bound::Excluded(scalar(json)?),
        wire::Bound::Including(json) => Bound::Included(scalar(json)?),
    })
}
