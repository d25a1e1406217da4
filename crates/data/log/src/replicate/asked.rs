use crate::ProofRequest;
use std::collections::VecDeque;
use std::time::Duration;

/// A request that has no answer yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub proof: ProofRequest,
    pub at: Duration,
    /// It counts on nodes that answers still on their way will bring.
    pub trust: Trust,
}

/// What a request takes for known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Only nodes that are held.
    Held,
    /// Nodes that earlier requests to the same peer will bring.
    Coming,
}

/// The requests to one peer that have no answer yet, by their numbers, which count up from 1 (0 asks for a proof
/// of conflict). Answers come nearly in order, so this is a queue with holes.
#[derive(Debug)]
pub(crate) struct Asked {
    first: u64,
    slots: VecDeque<Option<Pending>>,
    live: usize,
}

impl Default for Asked {
    fn default() -> Self {
        Asked { first: 1, slots: VecDeque::new(), live: 0 }
    }
}

impl Asked {
    pub fn push(&mut self, pending: Pending) -> u64 {
        self.slots.push_back(Some(pending));
        self.live += 1;
        self.first + self.slots.len() as u64 - 1
    }

    pub fn take(&mut self, id: u64) -> Option<Pending> {
        let place = usize::try_from(id.checked_sub(self.first)?).ok()?;
        let taken = self.slots.get_mut(place)?.take()?;
        self.live -= 1;
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first += 1;
        }
        Some(taken)
    }

    pub const fn len(&self) -> usize {
        self.live
    }

    pub const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Those without an answer, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Pending)> {
        let ids = self.first..;
        ids.zip(&self.slots).filter_map(|(id, slot)| Some((id, slot.as_ref()?)))
    }

    /// Whether one that was sent before `id` has no answer.
    pub fn any_before(&self, id: u64) -> bool {
        self.iter().next().is_some_and(|(first, _)| first < id)
    }

    /// Takes all of them out.
    pub fn drain(&mut self) -> Vec<(u64, Pending)> {
        let all = self.iter().map(|(id, pending)| (id, *pending)).collect();
        self.first += self.slots.len() as u64;
        self.slots.clear();
        self.live = 0;
        all
    }
}
