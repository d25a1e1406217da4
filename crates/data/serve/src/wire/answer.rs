use crate::code::Failure;
use crate::told::{ToldChange, What, role, versions, writer};
use bytes::Bytes;
use cloudpal_base::{Conflict, Member};
use cloudpal_log::codec::Write;

const OK: u8 = 0;
const ERROR: u8 = 1;
const EVENT: u8 = 2;

/// What a request that was done brings.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Nothing but that it was done.
    Done,
    /// Which version is spoken, and the database's key.
    Welcome {
        /// Of the protocol.
        version: u64,
        /// The database's key.
        key: [u8; 32],
    },
    /// Values in the order of the keys asked for.
    Values(Vec<Option<Bytes>>),
    /// Whether keys are there, in the order asked for.
    Present(Vec<bool>),
    /// Part of a scan.
    Page(Page),
    /// Part of what an index finds.
    Found(Found),
    /// Conflicts of a sub-database.
    Conflicts(Vec<Conflict>),
    /// Who writes.
    Members(Vec<Member>),
    /// Where a subscription begins.
    Cursor(Vec<u8>),
}

/// Part of a scan, encoded as it was read.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Entries in it.
    pub count: u64,
    /// Whether nothing comes after it.
    pub last: bool,
    /// Keys and values, as wanted.
    pub entries: Vec<u8>,
}

/// Part of what an index finds.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Keys, and values if wanted.
    pub page: Page,
    /// The place in the index that it ends with; empty if nothing was found.
    pub place: Vec<u8>,
}

/// Changes that a subscription brings, and where they end.
#[derive(Debug, Clone)]
pub struct Event {
    /// To start after them another time.
    pub cursor: Vec<u8>,
    /// What changed, in the order in which this replica took it in.
    pub changes: Vec<ToldChange>,
}

/// Appends the frame of an answer.
pub fn ok(out: &mut Vec<u8>, id: u64, answer: &Answer) {
    frame(out, OK, id, |body| match answer {
        Answer::Done => {}
        Answer::Welcome { version, key } => {
            body.uint(*version);
            body.raw(key);
        }
        Answer::Values(values) => {
            body.uint(values.len() as u64);
            values.iter().for_each(|value| optional(body, value.as_deref()));
        }
        Answer::Present(present) => {
            body.uint(present.len() as u64);
            body.extend(present.iter().map(|present| u8::from(*present)));
        }
        Answer::Page(page) => one_page(body, page),
        Answer::Found(found) => {
            body.buffer(&found.place);
            one_page(body, &found.page);
        }
        Answer::Conflicts(conflicts) => {
            body.uint(conflicts.len() as u64);
            conflicts.iter().for_each(|conflict| one_conflict(body, conflict));
        }
        Answer::Cursor(cursor) => body.buffer(cursor),
        Answer::Members(members) => {
            body.uint(members.len() as u64);
            members.iter().for_each(|member| one_member(body, member));
        }
    });
}

/// Appends the frame of a refusal.
pub fn error(out: &mut Vec<u8>, id: u64, failure: &Failure) {
    frame(out, ERROR, id, |body| {
        body.uint(failure.code as u64);
        body.string(&failure.message);
    });
}

/// Appends the frame of an event of the subscription `id`.
pub fn event(out: &mut Vec<u8>, id: u64, event: &Event) {
    frame(out, EVENT, id, |body| {
        body.buffer(&event.cursor);
        body.uint(event.changes.len() as u64);
        for change in &event.changes {
            body.push(change.sub.kind() as u8);
            body.string(change.sub.name());
            body.raw(&writer(change.writer));
            body.uint(change.wall_ms);
            what(body, &change.what);
        }
    });
}

fn what(body: &mut Vec<u8>, what: &What) {
    match what {
        What::Put(key, value) => {
            body.push(0);
            body.buffer(key);
            body.buffer(value);
        }
        What::Del(key) => {
            body.push(1);
            body.buffer(key);
        }
        What::Clear(from, to) => {
            body.push(2);
            body.buffer(from);
            optional(body, to.as_deref());
        }
    }
}

fn one_page(body: &mut Vec<u8>, page: &Page) {
    body.push(u8::from(page.last));
    body.uint(page.count);
    body.raw(&page.entries);
}

fn one_conflict(body: &mut Vec<u8>, conflict: &Conflict) {
    body.buffer(&conflict.key);
    body.buffer(&conflict.path);
    body.uint(1 + conflict.lost.len() as u64);
    for version in versions(conflict) {
        body.buffer(&version.value);
        body.raw(&writer(version.dot.client));
        body.uint(version.stamp.wall_ms);
        body.uint(version.dot.position);
    }
}

fn one_member(body: &mut Vec<u8>, member: &Member) {
    body.raw(&writer(member.writer().client()));
    body.raw(&member.writer().0);
    body.string(&member.name);
    body.string(role(member));
}

fn optional(body: &mut Vec<u8>, value: Option<&[u8]>) {
    body.push(u8::from(value.is_some()));
    if let Some(value) = value {
        body.buffer(value);
    }
}

/// A frame whose length is only known when it is written.
fn frame(out: &mut Vec<u8>, code: u8, id: u64, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut body = vec![code];
    body.uint(id);
    fill(&mut body);
    out.buffer(&body);
}
