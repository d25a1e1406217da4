//! Two honest devices and a member, Eve, whose blocks are made by hand.

use bytes::Bytes;
use cloudpal_core::{AgreementSecret, Secret, SigningKey};
use cloudpal_db::record::{Candidate, Record, Rights, Role, Says, SignedRecord};
use cloudpal_db::wire::{Block, Entry, EpochId, EpochKey, Header, Op, parts};
use cloudpal_db::{
    Advanced, Batch, ClientId, Fault, Heads, Identity, Kind, Logs, LogsError, Replica, Stamp, Sub, WriterId,
};
use cloudpal_sorted::{MemoryPages, Options, Sorted};
use std::cell::Cell;
use std::collections::BTreeMap;

pub const NOW: u64 = 1_700_000_000_000;
pub const OWNER: [u8; 32] = [200; 32];

#[derive(Default)]
pub struct Shelf {
    pub logs: BTreeMap<WriterId, Vec<Bytes>>,
    /// Blocks that were asked for.
    pub asked: Cell<u64>,
}

impl Logs for Shelf {
    fn length(&self, writer: &WriterId) -> u64 {
        self.logs.get(writer).map_or(0, |log| log.len() as u64)
    }

    fn block(&self, writer: &WriterId, position: u64) -> Result<Option<Bytes>, LogsError> {
        self.asked.set(self.asked.get() + 1);
        Ok(self.logs.get(writer).and_then(|log| log.get(position as usize)).cloned())
    }
}

pub struct Town {
    pub shelf: Shelf,
    pub anna: Replica<MemoryPages>,
    pub ben: Replica<MemoryPages>,
    pub eve: Identity,
    pub epoch: (EpochId, EpochKey),
    drawn: u8,
    nonce: u8,
}

pub fn person(number: u8, owner: Option<SigningKey>) -> Identity {
    Identity {
        writer: WriterId([number; 32]),
        agreement: AgreementSecret::from_secret(&Secret::new([number + 1; 32])),
        signer: SigningKey::from_secret(&Secret::new([number + 2; 32])),
        owner,
    }
}

fn copy(database: WriterId, me: Identity) -> Replica<MemoryPages> {
    let sorted = Sorted::open(MemoryPages::default(), Options::default()).unwrap();
    Replica::open(database, me, sorted).unwrap()
}

impl Town {
    /// Anna founds a database and admits Ben, and Eve in `role`. Eve's log has its header.
    pub fn new(role: Role) -> Self {
        let owner = SigningKey::from_secret(&Secret::new(OWNER));
        let (anna, ben, eve) = (person(10, Some(owner.clone())), person(20, None), person(30, None));
        let mut drawn = 100;
        let first = Replica::<MemoryPages>::found(&anna, &owner, NOW, &mut || {
            drawn += 1;
            Secret::new([drawn; 32])
        });
        let key = EpochKey(Secret::new([101; 32]));
        let mut town = Town {
            shelf: Shelf { logs: BTreeMap::from([(anna.writer, first)]), asked: Cell::new(0) },
            anna: copy(anna.writer, anna.clone()),
            ben: copy(anna.writer, ben.clone()),
            eve: eve.clone(),
            epoch: (key.id(0), key),
            drawn,
            nonce: 0,
        };
        town.settle();
        town.admit(ben.candidate(), Role::Writer);
        town.admit(eve.candidate(), role);
        town.push(Block::Header(Header::Member { database: anna.writer }).encode());
        town.settle();
        town.work("founded");
        town
    }

    pub fn admit(&mut self, candidate: Candidate, role: Role) {
        let mut drawn = self.drawn;
        let record = self.anna.admit(candidate, "somebody".to_owned(), Rights::all(role), NOW, &mut || {
            drawn += 1;
            Secret::new([drawn; 32])
        });
        self.drawn = drawn;
        self.anna_says(vec![record.unwrap()]);
    }

    pub fn anna_says(&mut self, records: Vec<SignedRecord>) {
        let writer = self.anna.me().writer;
        let blocks = self.anna.carry(records, self.shelf.length(&writer)).unwrap();
        self.shelf.logs.entry(writer).or_default().extend(blocks);
        self.settle();
    }

    /// Anna cuts Eve's log to `length`.
    pub fn cut_eve(&mut self, length: u64) {
        let records =
            self.anna.cut(self.eve.client(), (length, [0; 32]), "lies".to_owned(), NOW, &mut || {
                Secret::new([99; 32])
            });
        self.anna_says(records.unwrap());
    }

    pub fn settle(&mut self) -> (Advanced, Advanced) {
        let anna = self.anna.advance(&self.shelf, NOW).unwrap();
        (anna, self.ben.advance(&self.shelf, NOW).unwrap())
    }

    /// Appends to Eve's log, and says where.
    pub fn push(&mut self, block: Bytes) -> u64 {
        let log = self.shelf.logs.entry(self.eve.writer).or_default();
        log.push(block);
        log.len() as u64 - 1
    }

    /// What Eve would write as an entry of these bytes.
    pub fn sealed(&mut self, text: &[u8]) -> Vec<Bytes> {
        let position = self.shelf.length(&self.eve.writer);
        let nonce = &mut self.nonce;
        parts(text, self.epoch.0, &self.epoch.1, &self.eve.writer, position, &mut || {
            *nonce = nonce.wrapping_add(1);
            [*nonce; 24]
        })
    }

    pub fn push_text(&mut self, text: &[u8]) -> u64 {
        let first = self.shelf.length(&self.eve.writer);
        for block in self.sealed(text) {
            self.push(block);
        }
        first
    }

    pub fn push_entry(&mut self, entry: &Entry) -> u64 {
        self.push_text(&entry.encode())
    }

    /// Eve signs a record herself and puts it into her log.
    pub fn push_record(&mut self, database: WriterId, says: Says, key: &SigningKey) -> u64 {
        let record = Record { database: database.0, signed_ms: NOW + 1, says };
        self.push(Block::Records(vec![SignedRecord::sign(&record, key)]).encode())
    }

    /// Both others still write and read each other, and agree.
    pub fn work(&mut self, value: &str) {
        self.settle();
        let sub = Sub::root();
        for (key, ben) in [("from anna", false), ("from ben", true)] {
            let replica = if ben { &mut self.ben } else { &mut self.anna };
            let writer = replica.me().writer;
            let mut batch = Batch::new();
            batch.put(&sub, key, value.to_owned());
            let length = self.shelf.length(&writer);
            let prepared = replica.prepare(&[batch], length, NOW, &mut || [9; 24]).unwrap();
            assert!(prepared.results.iter().all(Result::is_ok));
            self.shelf.logs.entry(writer).or_default().extend(prepared.blocks.clone());
            replica.commit(prepared);
            self.settle();
        }
        for replica in [&self.anna, &self.ben] {
            for key in ["from anna", "from ben"] {
                assert_eq!(replica.view().get(&sub, key.as_bytes()).unwrap().unwrap(), value);
            }
        }
        assert_eq!(self.anna.view().state_hash().unwrap(), self.ben.view().state_hash().unwrap());
    }

    /// What of Eve's was refused, where and why: the same at both.
    pub fn refused(&mut self) -> Vec<(u64, Fault)> {
        self.settle();
        let of = |replica: &Replica<MemoryPages>| -> Vec<(u64, Fault)> {
            let eve = replica.refusals().filter(|refusal| refusal.client == self.eve.client());
            eve.map(|refusal| (refusal.position, refusal.fault.clone())).collect()
        };
        let refused = of(&self.anna);
        assert_eq!(refused, of(&self.ben));
        refused
    }
}

pub fn stamp(ahead_ms: u64) -> Stamp {
    Stamp { wall_ms: NOW + ahead_ms, counter: 1 }
}

/// An entry with one change of `sub`.
pub fn entry(sub: Sub, op: Op) -> Entry {
    Entry { stamp: stamp(0), subs: vec![sub], ops: vec![op], ..Entry::default() }
}

pub fn put(key: &str, value: &str) -> Entry {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    entry(Sub::root(), Op::Set { sub: 0, key, path: Bytes::new(), value })
}

pub fn seen(client: ClientId, length: u64) -> Heads {
    [(client, length)].into_iter().collect()
}

pub fn sub(kind: Kind) -> Sub {
    Sub::new("s", kind).unwrap()
}
