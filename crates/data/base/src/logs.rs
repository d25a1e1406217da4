use crate::error::OpenError;
use bytes::Bytes;
use cloudpal_db::{Logs, LogsError, WriterId};
use cloudpal_log::Feed;
use cloudpal_store::{Fetch, Session, Store};
use std::collections::HashMap;

/// The logs of a database's members: this device's, and copies of the others' that follow them.
pub struct MemberLogs {
    store: Store,
    own: (WriterId, Session),
    others: HashMap<WriterId, (Session, Fetch)>,
}

impl MemberLogs {
    pub fn new(store: &Store, writer: WriterId, own: Session) -> Self {
        MemberLogs { store: store.clone(), own: (writer, own), others: HashMap::new() }
    }

    /// Follows the log of `writer` from now on, if it is not followed.
    pub fn follow(&mut self, writer: WriterId) -> Result<(), OpenError> {
        if writer != self.own.0 && !self.others.contains_key(&writer) {
            let session = self.store.get(writer.0)?;
            let fetch = session.fetch(0..u64::MAX)?;
            self.others.insert(writer, (session, fetch));
        }
        Ok(())
    }

    /// The session of a log that is followed, or this device's.
    pub fn session(&self, writer: &WriterId) -> Option<&Session> {
        if *writer == self.own.0 {
            Some(&self.own.1)
        } else {
            self.others.get(writer).map(|(session, _)| session)
        }
    }

    /// All, this device's first.
    pub fn sessions(&self) -> impl Iterator<Item = (&WriterId, &Session)> {
        let others = self.others.iter().map(|(writer, (session, _))| (writer, session));
        std::iter::once((&self.own.0, &self.own.1)).chain(others)
    }
}

impl Logs for MemberLogs {
    fn length(&self, writer: &WriterId) -> u64 {
        self.session(writer).map_or(0, Feed::length)
    }

    fn block(&self, writer: &WriterId, position: u64) -> Result<Option<Bytes>, LogsError> {
        let Some(session) = self.session(writer) else { return Ok(None) };
        session.get_local(position).map_err(|source| LogsError {
            client: writer.client(),
            position,
            source: Box::new(source),
        })
    }
}
