//! What one client is doing: its rights, its snapshots and its subscriptions. Blocks on the disk, knows no socket.

mod feed;
mod find;
mod read;
mod write;

use crate::code::{Code, Failure};
use crate::directory::Owner;
use crate::service::Service;
use crate::token::Access;
use crate::wire::{self, Answer, Hello, Numbered, Request, VERSION};
use cloudpal_base::Snapshot;
use feed::Feed;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Bytes of answers after which they are sent before more is done.
const FULL: usize = 1 << 20;

/// A client that has said who it is.
pub struct Session {
    service: Arc<Service>,
    access: Access,
    snapshots: HashMap<u64, Snapshot>,
    feeds: BTreeMap<u64, Feed>,
    /// What was asked and not done yet, in order.
    inbox: VecDeque<Numbered>,
}

impl Session {
    /// A session of whoever holds a token that was checked.
    pub fn new(service: Arc<Service>, access: Access) -> Self {
        Session { service, access, snapshots: HashMap::new(), feeds: BTreeMap::new(), inbox: VecDeque::new() }
    }

    /// The first request of a connection: opens a session and appends the answer, or fails. The owner may leave the token empty.
    pub fn begin(
        service: &Arc<Service>,
        owner: Option<Owner>,
        first: &Numbered,
        out: &mut Vec<u8>,
    ) -> Result<Self, Failure> {
        let Request::Hello(Hello { lowest, highest, token }) = &first.request else {
            return Err(Failure::new(Code::Malformed, "the first request of a connection says hello"));
        };
        if !(*lowest..=*highest).contains(&VERSION) {
            let message = format!("version {VERSION} is spoken here; update the older side");
            return Err(Failure::new(Code::Version, message));
        }
        let access = match owner {
            Some(Owner) if token.is_empty() => Access::owner(),
            _ => service.access(token)?,
        };
        wire::ok(out, first.id, &Answer::Welcome { version: VERSION, key: service.database.key() });
        Ok(Session::new(service.clone(), access))
    }

    /// The holder's rights.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Takes requests in, to be done in order.
    pub fn take(&mut self, requests: Vec<Numbered>) {
        self.inbox.extend(requests);
    }

    /// Whether there is something to do without hearing from the client.
    pub fn is_busy(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Whether changes of the view are to be told.
    pub fn is_subscribed(&self) -> bool {
        self.feeds.values().any(Feed::is_due)
    }

    /// Does what was asked, until all is done or enough answers wait to be sent, and tells changes.
    pub fn work(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while out.len() < FULL {
            if !self.write_next(&mut out) && !self.do_next(&mut out) {
                break;
            }
        }
        self.tell(&mut out);
        out
    }

    fn do_next(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(Numbered { id, request }) = self.inbox.pop_front() else { return false };
        let done = match request {
            Request::Changes { start, sub, credit } => self.subscribe(id, &start, sub, credit),
            request => self.perform(request),
        };
        answer(out, id, done);
        true
    }

    /// Does one request that needs no number of its own.
    pub fn perform(&mut self, request: Request) -> Result<Answer, Failure> {
        match request {
            Request::Hello(_) => Err(Failure::new(Code::Malformed, "hello is said once")),
            Request::Open { sub, create, fresh } => self.open(&sub, create, fresh),
            Request::Get { snapshot, sub, keys } => self.get(snapshot, &sub, &keys),
            Request::Has { snapshot, sub, keys } => self.has(snapshot, &sub, &keys),
            Request::Write(write) => self.write(write),
            Request::Scan { snapshot, sub, bounds, reverse, keys, values, limit, bytes } => {
                let wanted = read::Scan { bounds, reverse, keys, values, limit, bytes };
                self.scan(snapshot, &sub, wanted)
            }
            Request::Snapshot(id) => self.hold(id),
            Request::Release(id) => {
                self.snapshots.remove(&id);
                Ok(Answer::Done)
            }
            Request::Changes { .. } => Err(Failure::new(Code::Invalid, "subscribing takes a connection")),
            Request::More { subscription, credit } => self.more(subscription, credit),
            Request::End(id) => {
                self.feeds.remove(&id);
                Ok(Answer::Done)
            }
            Request::Conflicts(sub) => self.conflicts(&sub),
            Request::Members => Ok(Answer::Members(self.service.database.members())),
            Request::Find(wanted) => self.find(&wanted),
            Request::Resolve { resolution, durability } => self.resolve(&resolution, durability),
            Request::Ping => Ok(Answer::Done),
        }
    }

    /// Keeps the view as it is now.
    fn hold(&mut self, id: u64) -> Result<Answer, Failure> {
        if id == 0 || self.snapshots.contains_key(&id) {
            return Err(Failure::new(
                Code::Invalid,
                format!("the number {id} is taken; choose another for the snapshot"),
            ));
        }
        let most = self.service.limits.snapshots;
        if self.snapshots.len() >= most {
            return Err(Failure::new(
                Code::TooMany,
                format!("a connection holds {most} snapshots; release some"),
            ));
        }
        self.snapshots.insert(id, self.service.database.snapshot());
        Ok(Answer::Done)
    }

    /// The view as it is now, or as it was.
    fn view(&self, snapshot: u64) -> Result<Snapshot, Failure> {
        if snapshot == 0 {
            return Ok(self.service.database.snapshot());
        }
        let gone = || {
            Failure::new(
                Code::NoSnapshot,
                "the snapshot was released, or its connection was lost; make another",
            )
        };
        self.snapshots.get(&snapshot).cloned().ok_or_else(gone)
    }
}

/// Appends what came of a request, if its client wants to know.
fn answer(out: &mut Vec<u8>, id: u64, done: Result<Answer, Failure>) {
    match done {
        _ if id == 0 => {}
        Ok(answer) => wire::ok(out, id, &answer),
        Err(failure) => wire::error(out, id, &failure),
    }
}
