//! Which runs there are. A version never changes; snapshots hold the one they were made of.

use crate::ReadError;
use crate::load::Load;
use crate::run::{Run, RunCursor, hash};
use crate::segment::{Segment, Sizes};
use bytes::Bytes;
use std::sync::Arc;

#[derive(Debug, Clone, Default)]
pub(crate) struct Version {
    /// Newest first.
    pub slots: Vec<Slot>,
    /// Of the last flush.
    pub mark: Option<Bytes>,
}

/// One place in the order of age.
#[derive(Debug, Clone)]
pub(crate) enum Slot {
    Run(Arc<Run>),
    Merging(Merging),
}

/// Runs that are being made into one, step by step: keys up to the fence are in `output`, those above in `inputs`.
#[derive(Debug, Clone)]
pub(crate) struct Merging {
    /// None before the first step.
    pub fence: Option<Bytes>,
    /// Newest first. They may still have keys up to the fence, which do not count.
    pub inputs: Vec<Arc<Run>>,
    pub output: Arc<Run>,
}

impl Version {
    /// What the runs say of a key: nothing, that it was deleted, or its value.
    pub fn get(&self, load: &dyn Load, key: &[u8]) -> Result<Option<Option<Bytes>>, ReadError> {
        let hash = hash(key);
        for slot in &self.slots {
            let runs = match slot {
                Slot::Run(run) => std::slice::from_ref(run),
                Slot::Merging(merging) if merging.is_past(key) => std::slice::from_ref(&merging.output),
                Slot::Merging(merging) => &merging.inputs,
            };
            for run in runs {
                if let Some(found) = run.get(load, key, hash)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// A cursor on every run, newest first.
    pub fn cursors(
        &self,
        mut cursor: impl FnMut(&Arc<Run>, Option<Bytes>) -> Result<RunCursor, ReadError>,
    ) -> Result<Vec<RunCursor>, ReadError> {
        let mut cursors = Vec::new();
        for slot in &self.slots {
            match slot {
                Slot::Run(run) => cursors.push(cursor(run, None)?),
                Slot::Merging(merging) => {
                    for run in &merging.inputs {
                        cursors.push(cursor(run, merging.fence.clone())?);
                    }
                    cursors.push(cursor(&merging.output, None)?);
                }
            }
        }
        Ok(cursors)
    }

    pub fn runs(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.slots.iter().flat_map(Slot::runs)
    }

    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.runs().flat_map(|run| &run.segments)
    }

    pub fn sizes(&self) -> Sizes {
        let mut all = Sizes::default();
        self.runs().for_each(|run| all += run.sizes());
        all
    }
}

impl Slot {
    /// Newest first, as far as two have the same keys.
    pub fn runs(&self) -> impl Iterator<Item = &Arc<Run>> {
        let (one, many) = match self {
            Slot::Run(run) => (run, &[][..]),
            Slot::Merging(merging) => (&merging.output, &merging.inputs[..]),
        };
        many.iter().chain([one])
    }
}

impl Merging {
    /// Whether the key was merged already.
    fn is_past(&self, key: &[u8]) -> bool {
        self.fence.as_ref().is_some_and(|fence| key <= &**fence)
    }
}
