//! Entries of a member who writes anything: each is read or refused, two copies that hear of them in different steps come to the same
//! view, everything in it can be read, and the founder still writes.
#![no_main]
use bytes::Bytes;
use cloudpal_core::{AgreementSecret, Secret, SigningKey};
use cloudpal_db::record::{Rights, Role};
use cloudpal_db::wire::{Block, Entry, EpochKey, Header, parts};
use cloudpal_db::{Batch, Identity, Kind, Logs, LogsError, Range, Replica, Sub, WriterId};
use cloudpal_sorted::{MemoryPages, Options, Sorted};
use std::ops::{Bound, ControlFlow};

const NOW: u64 = 1_700_000_000_000;

struct Two {
    founder: (WriterId, Vec<Bytes>),
    member: (WriterId, Vec<Bytes>),
}

impl Logs for Two {
    fn length(&self, writer: &WriterId) -> u64 {
        self.log(writer).len() as u64
    }

    fn block(&self, writer: &WriterId, position: u64) -> Result<Option<Bytes>, LogsError> {
        Ok(self.log(writer).get(position as usize).cloned())
    }
}

impl Two {
    fn log(&self, writer: &WriterId) -> &[Bytes] {
        if *writer == self.founder.0 { &self.founder.1 } else { &self.member.1 }
    }
}

fn person(number: u8, owner: Option<SigningKey>) -> Identity {
    Identity {
        writer: WriterId([number; 32]),
        agreement: AgreementSecret::from_secret(&Secret::new([number; 32])),
        signer: SigningKey::from_secret(&Secret::new([number; 32])),
        owner,
    }
}

fn copy(me: &Identity) -> Replica<MemoryPages> {
    let sorted = Sorted::open(MemoryPages::default(), Options::default()).expect("memory opens");
    Replica::open(WriterId([1; 32]), me.clone(), sorted).expect("an empty copy opens")
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let owner = SigningKey::from_secret(&Secret::new([9; 32]));
    let (me, member) = (person(1, Some(owner.clone())), person(2, None));
    let first = Replica::<MemoryPages>::found(&me, &owner, NOW, &mut || Secret::new([5; 32]));
    let key = EpochKey(Secret::new([5; 32]));
    let mut logs = Two { founder: (me.writer, first), member: (member.writer, Vec::new()) };
    let (mut one, mut other) = (copy(&me), copy(&me));
    one.advance(&logs, NOW).expect("memory reads");
    let admitted = one.admit(member.candidate(), String::new(), Rights::all(Role::Writer), NOW, &mut || {
        Secret::new([6; 32])
    });
    let length = logs.founder.1.len() as u64;
    let blocks = one.carry(vec![admitted.expect("the owner admits")], length).expect("the owner writes");
    logs.founder.1.extend(blocks);
    logs.member.1.push(Block::Header(Header::Member { database: me.writer }).encode());
    let mut rest = bytes;
    while let [low, high, more @ ..] = rest {
        let length = (usize::from(*low) | usize::from(*high) << 8).min(more.len());
        let (text, more) = more.split_at(length);
        rest = more;
        if let Ok(entry) = Entry::decode(&Bytes::copy_from_slice(text)) {
            assert_eq!(Entry::decode(&entry.encode().into()), Ok(entry));
        }
        let position = logs.member.1.len() as u64;
        logs.member.1.extend(parts(text, key.id(0), &key, &member.writer, position, &mut || [7; 24]));
        one.advance(&logs, NOW).expect("memory reads");
    }
    one.advance(&logs, NOW).expect("memory reads");
    other.advance(&logs, NOW).expect("memory reads");
    assert_eq!(one.view().state_hash().expect("it reads"), other.view().state_hash().expect("it reads"));
    read(&one);
    write(&mut one, &mut logs);
});

fn read(replica: &Replica<MemoryPages>) {
    let view = replica.view();
    for sub in view.subs().expect("it reads") {
        view.scan(&sub, &Range::default(), &mut |key, value| {
            assert_eq!(view.get(&sub, key).expect("it reads").as_ref(), Some(value));
            ControlFlow::Continue(())
        })
        .expect("it reads");
        view.conflicts(&sub).expect("it reads");
        view.find(&sub, "x", (Bound::Unbounded, Bound::Unbounded), &mut |_| ControlFlow::Continue(()))
            .expect("it reads");
    }
}

/// Whatever the member has left there, it can be written over and removed.
fn write(replica: &mut Replica<MemoryPages>, logs: &mut Two) {
    for kind in Kind::ALL {
        let sub = Sub::new("s", kind).expect("a name");
        let value = match kind {
            Kind::Register | Kind::Text => "text",
            Kind::Json => r#"{"x":[1,{"y":null}]}"#,
            Kind::Set => r#"["m"]"#,
            Kind::Counter => "7",
        };
        let (mut put, mut clear) = (Batch::new(), Batch::new());
        put.put(&sub, "k", value);
        clear.clear(&sub, (Bound::Unbounded, Bound::Unbounded));
        for (batch, shows) in [(put, Some(value)), (clear, None)] {
            let prepared = replica.prepare(&[batch], logs.founder.1.len() as u64, NOW, &mut || [8; 24]);
            let prepared = prepared.expect("the founder writes");
            // A member can bring a counter or a text to where nothing more fits.
            let done = prepared.results[0].is_ok();
            assert!(done || matches!(kind, Kind::Counter | Kind::Text));
            logs.founder.1.extend(prepared.blocks.clone());
            replica.commit(prepared);
            let shown = replica.view().get(&sub, b"k").expect("it reads");
            assert!(!done || shown.as_deref() == shows.map(str::as_bytes), "{shown:?} in {sub}");
        }
    }
}
