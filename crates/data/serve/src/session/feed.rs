//! Subscriptions to what changes. A client is told only as much as it has given credit for; what it has not taken is
//! read again from the database later, so a slow client costs no memory.

use super::{FULL, Session};
use crate::code::{Code, Failure};
use crate::token::Right;
use crate::told;
use crate::wire::{self, Answer, Event, Start};
use cloudpal_base::{Cursor, HistoryError, Sub};

/// Changes read at a time.
const PIECE: usize = 256;

/// A subscription.
pub struct Feed {
    cursor: Cursor,
    sub: Option<Sub>,
    credit: u64,
    /// Whether nothing came when it was last looked.
    caught_up_at: Option<u64>,
}

impl Feed {
    /// Whether something may be sent.
    pub fn is_due(&self) -> bool {
        self.credit > 0
    }
}

impl Session {
    pub(super) fn subscribe(
        &mut self,
        id: u64,
        start: &Start,
        sub: Option<Sub>,
        credit: u64,
    ) -> Result<Answer, Failure> {
        let most = self.service.limits.subscriptions;
        if id == 0 || self.feeds.contains_key(&id) {
            return Err(Failure::new(Code::Invalid, "a subscription needs a number of its own"));
        }
        if self.feeds.len() >= most {
            return Err(Failure::new(
                Code::TooMany,
                format!("a connection has {most} subscriptions; end some"),
            ));
        }
        if let Some(sub) = &sub {
            self.access.demand(Right::Read, sub)?;
        }
        let cursor = self.start(start)?;
        let answer = Answer::Cursor(cursor.encode());
        self.feeds.insert(id, Feed { cursor, sub, credit, caught_up_at: None });
        Ok(answer)
    }

    pub(super) fn more(&mut self, subscription: u64, credit: u64) -> Result<Answer, Failure> {
        let unknown = || Failure::new(Code::Invalid, format!("there is no subscription {subscription}"));
        let feed = self.feeds.get_mut(&subscription).ok_or_else(unknown)?;
        feed.credit = feed.credit.saturating_add(credit);
        Ok(Answer::Done)
    }

    /// Appends events for what has changed, as far as credit and room go.
    pub(super) fn tell(&mut self, out: &mut Vec<u8>) {
        let mut feeds = std::mem::take(&mut self.feeds);
        feeds.retain(|id, feed| match self.tell_one(out, *id, feed) {
            Ok(()) => true,
            Err(failure) => {
                wire::error(out, *id, &failure);
                false
            }
        });
        self.feeds = feeds;
    }

    fn tell_one(&self, out: &mut Vec<u8>, id: u64, feed: &mut Feed) -> Result<(), Failure> {
        while feed.credit > 0 && out.len() < FULL {
            let version = self.service.database.version();
            if feed.caught_up_at == Some(version) {
                break;
            }
            let (event, next) = self.read_changes(&feed.cursor, feed.sub.as_ref(), PIECE)?;
            feed.caught_up_at = (next == feed.cursor).then_some(version);
            feed.cursor = next;
            if !event.changes.is_empty() {
                wire::event(out, id, &event);
                feed.credit -= 1;
            }
        }
        Ok(())
    }

    /// Changes of up to `limit` batches after a place, without those that the holder may not read.
    pub fn changes(&self, start: &Start, sub: Option<&Sub>, limit: usize) -> Result<Event, Failure> {
        self.read_changes(&self.start(start)?, sub, limit).map(|(event, _)| event)
    }

    fn read_changes(
        &self,
        after: &Cursor,
        sub: Option<&Sub>,
        limit: usize,
    ) -> Result<(Event, Cursor), Failure> {
        let read = self.service.database.changes(after, limit).map_err(|error| match error {
            HistoryError::Gone => Failure::new(Code::CursorGone, error.to_string()),
            error => Failure::of_database(&error),
        })?;
        let wanted = |of: &Sub| sub.is_none_or(|sub| sub == of) && self.access.reaches(Right::Read, of);
        let view = self.service.database.snapshot();
        let mut changes = Vec::new();
        for did in &read.changes {
            changes.extend(told::changes(did, &view, wanted)?);
        }
        Ok((Event { cursor: read.next.encode(), changes }, read.next))
    }

    fn start(&self, start: &Start) -> Result<Cursor, Failure> {
        match start {
            Start::Oldest => Ok(Cursor::default()),
            Start::Now => Ok(self.service.database.cursor()),
            Start::After(bytes) => Cursor::decode(bytes).map_err(|_| {
                Failure::new(
                    Code::CursorGone,
                    "this is no cursor of a database; start with the oldest change",
                )
            }),
        }
    }
}
