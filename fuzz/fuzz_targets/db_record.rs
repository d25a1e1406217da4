//! Records by the owner, a manager and a writer, in any log and order, whole or for another database: two copies that hear of them in
//! different steps know the same members, and the founder still writes.
#![no_main]
use bytes::Bytes;
use cloudpal_core::{AgreementSecret, Secret, SigningKey};
use cloudpal_db::record::{Admission, Candidate, Cut, Record, Rights, Role, Says, SignedRecord};
use cloudpal_db::wire::{Block, EpochKey, Header};
use cloudpal_db::{Identity, Logs, LogsError, Replica, WriterId};
use cloudpal_sorted::{MemoryPages, Options, Sorted};
use std::collections::BTreeMap;

const NOW: u64 = 1_700_000_000_000;

struct Many(BTreeMap<WriterId, Vec<Bytes>>);

impl Logs for Many {
    fn length(&self, writer: &WriterId) -> u64 {
        self.0.get(writer).map_or(0, |log| log.len() as u64)
    }

    fn block(&self, writer: &WriterId, position: u64) -> Result<Option<Bytes>, LogsError> {
        Ok(self.0.get(writer).and_then(|log| log.get(position as usize)).cloned())
    }
}

fn signing(number: u8) -> SigningKey {
    SigningKey::from_secret(&Secret::new([number; 32]))
}

fn person(number: u8) -> Identity {
    Identity {
        writer: WriterId([number; 32]),
        agreement: AgreementSecret::from_secret(&Secret::new([number; 32])),
        signer: signing(number),
        owner: None,
    }
}

fn copy(me: &Identity) -> Replica<MemoryPages> {
    let sorted = Sorted::open(MemoryPages::default(), Options::default()).expect("memory opens");
    Replica::open(WriterId([1; 32]), me.clone(), sorted).expect("an empty copy opens")
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let me = Identity { owner: Some(signing(9)), ..person(1) };
    let first = Replica::<MemoryPages>::found(&me, &signing(9), NOW, &mut || Secret::new([5; 32]));
    let mut logs = Many(BTreeMap::from([(me.writer, first)]));
    for number in 2..5 {
        let header = Block::Header(Header::Member { database: me.writer }).encode();
        logs.0.insert(WriterId([number; 32]), vec![header]);
    }
    let (mut one, mut other) = (copy(&me), copy(&me));
    for change in bytes.chunks_exact(6).take(64) {
        let [place, signer, about, kind, time, more] = *change else { return };
        let signer = signing([9, 9, 1, 2, 3, 4][usize::from(signer) % 6]);
        let about = person(1 + about % 5);
        let database = if time == 255 { [7; 32] } else { me.writer.0 };
        let record = Record { database, signed_ms: u64::from(time), says: says(&about, kind, more) };
        let record = SignedRecord::sign(&record, &signer);
        let log = logs.0.entry(WriterId([1 + place % 4; 32])).or_default();
        log.push(Block::Records(vec![record]).encode());
        if more % 3 == 0 {
            one.advance(&logs, NOW).expect("memory reads");
        }
    }
    one.advance(&logs, NOW).expect("memory reads");
    other.advance(&logs, NOW).expect("memory reads");
    assert_eq!(one.members(), other.members());
    let founder = one.members().get(me.client()).expect("the founder is a member");
    assert_eq!(founder.writer(), me.writer);
});

fn says(about: &Identity, kind: u8, more: u8) -> Says {
    let role = [Role::Reader, Role::Writer, Role::Manager][usize::from(more) % 3];
    let rights = Rights { role, scope: Vec::new(), until_ms: (more > 200).then_some(u64::from(more)) };
    // Now and then the same log with other keys.
    let signer = if more % 16 == 15 { signing(66).public() } else { about.signer.public() };
    let candidate = Candidate { signer, ..about.candidate() };
    match kind % 5 {
        0..=2 => Says::Admit(Admission { candidate, name: String::new(), rights, keys: Vec::new() }),
        3 => Says::Cut(Cut {
            writer: about.writer.0,
            length: u64::from(more % 8),
            tree_hash: [0; 32],
            reason: String::new(),
        }),
        _ => Says::Epoch { id: EpochKey(Secret::new([more; 32])).id(u32::from(more)), keys: Vec::new() },
    }
}
