use crate::flush::{Deletions, Writing};
use crate::load::Straight;
use crate::lock::lock;
use crate::merge::{Merge, Source};
use crate::run::{Run, RunCursor};
use crate::segment::Segment;
use crate::shared::{Shared, State};
use crate::version::{Merging, Slot, Version};
use crate::{Change, Order, Pages, Sorted, WriteError, policy};
use bytes::Bytes;
use std::ops::Bound;
use std::sync::Arc;

/// Whether there is more to compact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A step was done; call again.
    More,
    /// Nothing is left to do until something is written.
    Done,
}

/// A step reads as many times what it writes, at most: where much was deleted or replaced, it writes little.
const READ_FACTOR: u64 = 4;

impl<P: Pages> Sorted<P> {
    /// Does one step of merging runs: it writes one segment, about, and commits. Call it from a thread of its own, again
    /// while it says [`Progress::More`], and after every flush. Readers and the writer go on meanwhile.
    ///
    /// A crash loses at most the step. Newer, smaller merges go before older, larger ones, so the number of runs stays
    /// small while a large merge goes on.
    pub fn compact(&self) -> Result<Progress, WriteError> {
        let shared = &*self.shared;
        let _compacting = lock(&shared.compacting);
        match shared.choose() {
            Some(work) => shared.step(work)?,
            None if shared.garbage.is_empty() => return Ok(Progress::Done),
            None => shared.sweep()?,
        }
        Ok(Progress::More)
    }

    /// Removes everything, the mark too, so that the map can be built again. Snapshots still see what they saw, as far as it is not
    /// [damaged](Self::is_damaged).
    pub fn clear(&self) -> Result<(), WriteError> {
        let shared = &*self.shared;
        let _compacting = lock(&shared.compacting);
        let _flushing = lock(&shared.flushing);
        let retired: Vec<Segment> = shared.version().segments().cloned().collect();
        shared.publish(
            Vec::new(),
            &retired,
            |_| Version::default(),
            |state| {
                *state = State { version: state.version.clone(), ..State::default() };
            },
        )?;
        drop(retired);
        shared.cache.clear();
        Ok(shared.sweep()?)
    }
}

/// A merge to go on with.
struct Work {
    /// How many slots are older. That stays while newer ones come.
    older: usize,
    merging: Merging,
}

/// What a step did.
struct Done {
    fence: Option<Bytes>,
    made: Vec<Segment>,
    changes: Vec<Change>,
}

impl<P: Pages> Shared<P> {
    /// Begins a merge if there is one to begin, and gives the newest that is going on.
    fn choose(&self) -> Option<Work> {
        self.restate(|version| {
            let sizes: Vec<Option<u64>> = version.slots.iter().map(Slot::settled_bytes).collect();
            let begun = policy::choose(&sizes).map(|group| {
                let mut slots = version.slots.clone();
                let inputs = slots[group.clone()].iter().flat_map(|slot| slot.runs().cloned());
                let inputs = inputs.collect();
                let merging = Merging { fence: None, inputs, output: Arc::default() };
                slots.splice(group, [Slot::Merging(merging)]);
                Version { slots, mark: version.mark.clone() }
            });
            let slots = &begun.as_ref().unwrap_or(version).slots;
            let work = slots.iter().enumerate().find_map(|(at, slot)| match slot {
                Slot::Merging(merging) => {
                    Some(Work { older: slots.len() - 1 - at, merging: merging.clone() })
                }
                Slot::Run(_) => None,
            });
            (begun, work)
        })
    }

    fn step(&self, work: Work) -> Result<(), WriteError> {
        let Work { older, merging } = work;
        let deletions = if older == 0 { Deletions::Drop } else { Deletions::Keep };
        let Done { fence, made, changes } = match merging.take_whole(deletions, self.options.segment as u64) {
            Some(done) => done,
            None => self.merge(&merging, deletions)?,
        };
        let moved: Vec<u32> = made.iter().map(|segment| segment.body.id()).collect();
        let (next, mut retired) = merging.after(fence, made);
        retired.retain(|segment| !moved.contains(&segment.body.id()));
        let slot = match (next.inputs.is_empty(), next.output.segments.is_empty()) {
            (false, _) => Some(Slot::Merging(next)),
            (true, false) => Some(Slot::Run(next.output)),
            (true, true) => None,
        };
        let edit = |version: &Version| {
            let mut slots = version.slots.clone();
            let at = slots.len() - 1 - older;
            slots.splice(at..=at, slot);
            Version { slots, mark: version.mark.clone() }
        };
        drop(merging);
        Ok(self.publish(changes, &retired, edit, |_| {})?)
    }

    /// Merges from the fence on until a segment is full or enough was read.
    fn merge(&self, merging: &Merging, deletions: Deletions) -> Result<Done, WriteError> {
        let load = Straight::new(self.source());
        let order = Order::Ascending;
        let cursor = |run: &Arc<Run>| {
            RunCursor::new(run.clone(), merging.fence.clone(), Bound::Unbounded, order, &load)
                .map(Source::Run)
        };
        let mut merge = Merge::new(merging.inputs.iter().map(cursor).collect::<Result<_, _>>()?, order);
        let mut writing = Writing::new(self);
        let limit = READ_FACTOR * self.options.segment as u64;
        let mut fence = Vec::new();
        while let Some(key) = merge.key() {
            let value = merge.value_bytes();
            if value.is_some() || deletions == Deletions::Keep {
                writing.add(key, value)?;
            }
            let enough = writing.segments() > 0 || load.bytes() >= limit;
            if enough {
                fence.extend_from_slice(key);
            }
            merge.advance(&load)?;
            if enough {
                break;
            }
        }
        let ended = merge.key().is_none();
        let (made, changes) = writing.finish()?;
        Ok(Done { fence: (!ended).then(|| fence.into()), made, changes })
    }
}

impl Slot {
    /// Bytes of a run; none of a merge.
    fn settled_bytes(&self) -> Option<u64> {
        match self {
            Slot::Run(run) => Some(run.sizes().bytes),
            Slot::Merging(_) => None,
        }
    }
}

impl Merging {
    /// Segments that come next and overlap nothing can become the output's as they are: so keys that were written in
    /// their order are not written again.
    fn take_whole(&self, deletions: Deletions, segment: u64) -> Option<Done> {
        let mut at: Vec<&[Segment]> = self.inputs.iter().map(|run| self.rest(run)).collect();
        let mut made = Vec::new();
        let mut fence = self.fence.clone();
        loop {
            at.retain(|rest| !rest.is_empty());
            let Some(least) = (0..at.len()).min_by_key(|&i| &at[i][0].first) else {
                return Some(Done { fence: None, made, changes: Vec::new() });
            };
            let next = &at[least][0];
            let untouched = fence.as_ref().is_none_or(|fence| *fence < next.first);
            let alone = at.iter().enumerate().all(|(i, rest)| i == least || next.last < rest[0].first);
            let as_it_is = deletions == Deletions::Keep || next.sizes.deletions == 0;
            if !untouched || !alone || !as_it_is || next.sizes.bytes < segment / 2 {
                break;
            }
            fence = Some(next.last.clone());
            made.push(next.clone());
            at[least] = &at[least][1..];
        }
        (!made.is_empty()).then_some(Done { fence, made, changes: Vec::new() })
    }

    /// The segments of an input that have keys above the fence.
    fn rest<'a>(&self, input: &'a Run) -> &'a [Segment] {
        let fence = self.fence.as_ref();
        let past =
            input.segments.partition_point(|segment| fence.is_some_and(|fence| segment.last <= *fence));
        &input.segments[past..]
    }

    /// The merge after a step, and the segments that it does not need any more. Without a fence it has come to its end.
    fn after(&self, fence: Option<Bytes>, made: Vec<Segment>) -> (Merging, Vec<Segment>) {
        let output = self.output.segments.iter().cloned().chain(made).collect();
        let mut next = Merging { fence, inputs: Vec::new(), output: Arc::new(Run { segments: output }) };
        let mut retired = Vec::new();
        for input in &self.inputs {
            let rest = if next.fence.is_some() { next.rest(input) } else { &[] };
            retired.extend_from_slice(&input.segments[..input.segments.len() - rest.len()]);
            if !rest.is_empty() {
                next.inputs.push(Arc::new(Run { segments: rest.to_vec() }));
            }
        }
        (next, retired)
    }
}
