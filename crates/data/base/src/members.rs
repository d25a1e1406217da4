use crate::catalogue;
use crate::database::{Database, State, now_ms, secret};
use crate::error::{MemberError, OpenError, WriteFault};
use crate::request::Request;
use cloudpal_core::Secret;
use cloudpal_db::record::{Rights, SignedRecord};
use cloudpal_db::{ClientId, Member};
use std::time::Duration;

impl Database {
    /// What this device asks with to be admitted.
    pub fn request(&self) -> Request {
        Request(self.shared.lock().replica.me().candidate())
    }

    /// This device's short id.
    pub fn me(&self) -> ClientId {
        self.shared.lock().replica.me().client()
    }

    /// Who belongs to the database, cut ones too.
    pub fn members(&self) -> Vec<Member> {
        self.shared.lock().replica.members().iter().map(|(_, member)| member.clone()).collect()
    }

    /// Lets a device in, as `name`. Only the owner's devices and managers can.
    pub fn admit(&self, request: &Request, name: &str, rights: Rights) -> Result<(), MemberError> {
        self.speak(|state, random| {
            Ok(vec![state.replica.admit(request.0, name.to_owned(), rights, now_ms(), random)?])
        })
    }

    /// Removes a member: what it has written after what this device has of it counts nowhere, and it cannot read what is written
    /// from now on.
    pub fn remove(&self, member: &Member, reason: &str) -> Result<(), MemberError> {
        self.speak(|state, random| {
            let client = member.writer().client();
            let length = state.replica.heads().get(client);
            let session = state.logs.session(&member.writer());
            let hash = session.map(|session| session.tree_hash_at(length)).transpose()?.flatten();
            // A log of which nothing is here has no hash; nothing of it counts.
            let cut = (if hash.is_some() { length } else { 0 }, hash.unwrap_or_default());
            Ok(state.replica.cut(client, cut, reason.to_owned(), now_ms(), random)?)
        })
    }

    /// The member called `wanted`, or whose key or short id it is.
    pub fn find_member(&self, wanted: &str) -> Result<Member, MemberError> {
        let named = |member: &Member| {
            member.name == wanted
                || member.writer().to_string() == wanted
                || member.writer().client().to_string() == wanted
        };
        let mut found: Vec<Member> = self.members().into_iter().filter(named).collect();
        match found.len() {
            0 => Err(MemberError::Unknown(wanted.to_owned())),
            1 => Ok(found.remove(0)),
            _ => Err(MemberError::Ambiguous(wanted.to_owned())),
        }
    }

    /// Takes a new log for this device, to be admitted again: after its folder was restored from a backup, or it was removed. What the
    /// old log holds stays part of the database as far as it counts.
    pub fn renew(self) -> Result<Self, MemberError> {
        self.close()?;
        let shared = &self.shared;
        let entry = shared.entry.renewed().map_err(OpenError::from)?;
        catalogue::write(&shared.store, &shared.name, entry.clone())?;
        Ok(Database::start(&shared.store, &shared.name, entry, shared.options)?)
    }

    fn speak(
        &self,
        say: impl FnOnce(&State, &mut dyn FnMut() -> Secret<32>) -> Result<Vec<SignedRecord>, MemberError>,
    ) -> Result<(), MemberError> {
        let mut state = self.shared.lock();
        let mut failed = None;
        let records = say(&state, &mut || secret(&mut failed))?;
        failed.map_or(Ok(()), |error| Err(WriteFault::from(error)))?;
        state.carry(records)?;
        drop(state);
        self.shared.notify();
        self.sync()?;
        Ok(())
    }
}

impl State {
    /// Adds records to this device's log, and reads them.
    pub(crate) fn carry(&mut self, records: Vec<SignedRecord>) -> Result<(), WriteFault> {
        let length = self.own_length()?;
        let blocks = self.replica.carry(records, length)?;
        self.append(&blocks)?;
        self.advance_to_write()
    }
}

/// How long a member's log is here, and what of it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Whose.
    pub client: ClientId,
    /// Blocks that the log has, as far as is known here.
    pub length: u64,
    /// Blocks that were dealt with.
    pub read: u64,
    /// Blocks that are here or lie before the checkpoint, from the first on.
    pub held: u64,
    /// How many peers have the log open too.
    pub peers: usize,
    /// How many of them hold all that is here.
    pub holders: usize,
    /// Whether a peer is there and none has more.
    pub current: bool,
    /// Whether its writer was seen to have signed two histories: nothing more is taken of it.
    pub forked: bool,
}

impl Database {
    /// How far each member's log has come here: answers "is my phone up to date?".
    pub fn sync_progress(&self) -> Vec<Progress> {
        let state = self.shared.lock();
        let (heads, settled) = (state.replica.heads(), state.replica.settled());
        let mut all: Vec<Progress> = state
            .logs
            .sessions()
            .map(|(writer, session)| {
                let (client, info) = (writer.client(), session.info());
                let read = heads.get(client);
                let from = settled.get(client);
                Progress {
                    client,
                    length: info.length,
                    read,
                    held: session.next_missing(from).min(info.length),
                    peers: info.peers,
                    holders: session.holders(from),
                    current: session.wait_current(Duration::ZERO),
                    forked: info.conflict,
                }
            })
            .collect();
        all.sort_by_key(|progress| progress.client);
        all
    }
}
