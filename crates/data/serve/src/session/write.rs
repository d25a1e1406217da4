//! Writing. Batches that wait one behind the other are written together: each stays atomic, as all of them are, and
//! one sync serves them all.

use super::{Session, answer};
use crate::code::{Code, Failure};
use crate::service::{Service, lock, origins};
use crate::token::Right;
use crate::wire::{Answer, Numbered, Request, Step, Write};
use cloudpal_base::{Batch, Durability, WriteError, WriteFault, Written};

/// Changes, and bytes of keys and values, that are written together.
const MAX_STEPS: usize = 4096;
const MAX_BYTES: usize = 8 << 20;

impl Session {
    /// Writes the batches at the head of the inbox, if there are any.
    pub(super) fn write_next(&mut self, out: &mut Vec<u8>) -> bool {
        let (mut ids, mut run) = (Vec::new(), Run::default());
        while let Some(Numbered { request: Request::Write(write), .. }) = self.inbox.front() {
            if self.allow(write).is_err() || !run.takes(write) {
                break;
            }
            let Some(Numbered { id, request: Request::Write(write) }) = self.inbox.pop_front() else { break };
            ids.push(id);
            run.add(write);
        }
        let done = commit(&self.service, &run.writes);
        for (id, done) in ids.iter().zip(done) {
            answer(out, *id, done.map(|()| Answer::Done));
        }
        !ids.is_empty()
    }

    /// Writes one batch by itself.
    pub(super) fn write(&self, write: Write) -> Result<Answer, Failure> {
        self.allow(&write)?;
        let done = commit(&self.service, std::slice::from_ref(&write));
        done.into_iter().collect::<Result<(), _>>().map(|()| Answer::Done)
    }

    /// The same for whoever wants to know where it lies.
    pub fn write_told(&self, write: &Write) -> Result<Written, Failure> {
        self.allow(write)?;
        store(&self.service, std::slice::from_ref(write))
    }

    fn allow(&self, write: &Write) -> Result<(), Failure> {
        write.steps.iter().try_for_each(|step| {
            // Whoever may not read learns nothing by conditions either.
            let right = if matches!(step, Step::Expect(..)) { Right::Read } else { Right::Write };
            self.access.demand(right, step.sub())
        })
    }
}

/// Batches that are written together.
#[derive(Default)]
struct Run {
    writes: Vec<Write>,
    steps: usize,
    bytes: usize,
}

impl Run {
    fn takes(&self, write: &Write) -> bool {
        let Some(last) = self.writes.last() else { return true };
        let alone = |write: &Write| write.steps.iter().any(|step| matches!(step, Step::Expect(..)));
        let client = |write: &Write| write.origin.map(|origin| origin.client);
        self.steps < MAX_STEPS
            && self.bytes < MAX_BYTES
            && !alone(last)
            && !alone(write)
            && client(last) == client(write)
    }

    fn add(&mut self, write: Write) {
        self.steps += write.steps.len();
        self.bytes += write.steps.iter().map(size).sum::<usize>();
        self.writes.push(write);
    }
}

fn size(step: &Step) -> usize {
    match step {
        Step::Put(_, key, value)
        | Step::Patch(_, key, value)
        | Step::Include(_, key, value)
        | Step::Exclude(_, key, value) => key.len() + value.len(),
        Step::Del(_, key) | Step::Add(_, key, _) => key.len(),
        Step::Splice(_, key, _, insert) => key.len() + insert.len(),
        Step::Clear(..) | Step::Expect(..) | Step::Index(..) => 0,
    }
}

/// Writes batches of one client, in order; what is done already is not done again. As many results as batches.
fn commit(service: &Service, writes: &[Write]) -> Vec<Result<(), Failure>> {
    let Some(origin) = writes.iter().find_map(|write| write.origin) else {
        return together(service, writes);
    };
    let slot = service.origins.slot(origin.client);
    let mut slot = lock(&slot);
    let last = match slot.map_or_else(|| origins::done(&service.database, &origin.client), Ok) {
        Ok(last) => last,
        Err(failure) => return vec![Err(failure); writes.len()],
    };
    let is_new = |write: &Write| write.origin.is_some_and(|origin| origin.sequence > last);
    let first = writes.iter().position(is_new).unwrap_or(writes.len());
    let mut done = vec![Ok(()); first];
    done.extend(together(service, &writes[first..]));
    let highest =
        writes.iter().zip(&done).filter(|(_, done)| done.is_ok()).filter_map(|(write, _)| write.origin);
    *slot = Some(highest.map(|origin| origin.sequence).max().unwrap_or(last).max(last));
    done
}

/// All in one; if that is refused, one by one, so that each learns what is wrong with it.
fn together(service: &Service, writes: &[Write]) -> Vec<Result<(), Failure>> {
    if writes.is_empty() {
        return Vec::new();
    }
    match store(service, writes) {
        Ok(_) => vec![Ok(()); writes.len()],
        Err(failure) if writes.len() == 1 => vec![Err(failure)],
        Err(_) => writes.iter().map(|write| store(service, std::slice::from_ref(write)).map(drop)).collect(),
    }
}

fn store(service: &Service, writes: &[Write]) -> Result<Written, Failure> {
    let mut batch = Batch::new();
    for step in writes.iter().flat_map(|write| &write.steps) {
        step.add_to(&mut batch);
    }
    if let Some(origin) = writes.iter().rev().find_map(|write| write.origin) {
        origins::note(&mut batch, origin);
    }
    let durable = writes.iter().any(|write| write.durability == Durability::Durable);
    let durability = if durable { Durability::Durable } else { Durability::Relaxed };
    service.database.write(batch, durability).map_err(|error| refused(&error))
}

pub(super) fn refused(error: &WriteFault) -> Failure {
    let failure = Failure::of_database(error);
    let WriteFault::Refused(error) = error else { return failure };
    let code = match error {
        WriteError::Condition { .. } => Code::Condition,
        WriteError::Unfit { .. } | WriteError::Change { .. } => Code::Invalid,
        WriteError::Key(_) | WriteError::Value(_) | WriteError::Batch(_) | WriteError::Changes => {
            Code::TooLarge
        }
        WriteError::Rights { .. }
        | WriteError::NotAdmitted
        | WriteError::Cut
        | WriteError::RolledBack
        | WriteError::Waiting
        | WriteError::NoKey => Code::Forbidden,
        _ => Code::Failed,
    };
    Failure { code, ..failure }
}
