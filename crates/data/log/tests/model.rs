//! A plain list of blocks judges a log over random programs of operations, with failing commits, losses of power and
//! reopening between. `SEED=n` runs one program.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use cloudpal_core::Secret;
use cloudpal_log::{
    AppendError, Create, Durability, EncryptionKey, KeyPair, Log, MemoryStorage, Node, OpenError, Seek, Slot,
    Storage, StorageError, Table, Tree,
};
use common::{Random, seeds};
use std::collections::{BTreeMap, BTreeSet};

/// What the log should be.
#[derive(Clone, Default)]
struct Model {
    blocks: Vec<Bytes>,
    missing: BTreeSet<u64>,
    fork: u64,
    user: BTreeMap<String, Bytes>,
}

struct Run {
    random: Random,
    log: Log<MemoryStorage>,
    storage: MemoryStorage,
    model: Model,
    /// The state after each commit since the last sync; the first is the synced one.
    history: Vec<Model>,
    encrypted: bool,
}

fn key_pair() -> KeyPair {
    KeyPair::from_seed(&[5; 32])
}

impl Run {
    fn new(seed: u64) -> Self {
        let storage = MemoryStorage::with_crashes();
        let public = key_pair().public_key();
        let create = if seed.is_multiple_of(3) { Create::compat(public) } else { Create::single(public) };
        let log = Log::create(storage.clone(), create).unwrap();
        let encrypted = seed % 3 == 1;
        let mut run = Run {
            random: Random(seed),
            log,
            storage,
            model: Model::default(),
            history: vec![Model::default()],
            encrypted,
        };
        Storage::sync(&run.storage).unwrap();
        run.reopen();
        run
    }

    fn reopen(&mut self) {
        let log = Log::open(self.storage.clone()).unwrap().with_key_pair(key_pair());
        let key = EncryptionKey::Log(Secret::new([8; 32]));
        self.log = if self.encrypted { log.with_encryption(key) } else { log };
    }

    fn step(&mut self) {
        let durability = if self.random.once_in(5) { Durability::Durable } else { Durability::Relaxed };
        let fails = self.random.once_in(6);
        self.storage.fail_after(fails.then_some(0));
        let unsynced = self.storage.unsynced();
        let mut after = self.model.clone();
        let result = self.operation(&mut after, durability);
        self.storage.fail_after(None);
        match result {
            Ok(()) => self.model = after,
            Err(error) => assert!(fails && matches!(error, StorageError::Full), "{error}"),
        }
        if self.storage.unsynced() > unsynced {
            self.history.push(self.model.clone());
        } else if self.storage.unsynced() == 0 {
            self.history = vec![self.model.clone()];
        }
        match self.random.below(12) {
            0 => self.reopen(),
            1 => {
                let keep = self.random.below(1 + self.storage.unsynced() as u64) as usize;
                self.storage.crash(keep);
                self.model = self.history[keep].clone();
                self.history = vec![self.model.clone()];
                self.reopen();
            }
            _ => {}
        }
    }

    fn operation(&mut self, after: &mut Model, durability: Durability) -> Result<(), StorageError> {
        let length = after.blocks.len() as u64;
        match self.random.below(10) {
            0..=4 => {
                let blocks = self.random.blocks(20);
                after.blocks.extend(blocks.iter().cloned());
                match self.log.append(&blocks, durability) {
                    Err(AppendError::Storage(error)) => Err(error),
                    done => {
                        assert_eq!(done.unwrap().first, length);
                        Ok(())
                    }
                }
            }
            5 => {
                let to = length - self.random.below(length.min(20) + 1);
                after.blocks.truncate(to as usize);
                after.missing.retain(|block| *block < to);
                after.fork += 1;
                match self.log.truncate(to, None, durability) {
                    Err(cloudpal_log::TruncateError::Storage(error)) => Err(error),
                    done => {
                        done.unwrap();
                        Ok(())
                    }
                }
            }
            6..=7 => {
                let start = self.random.below(length + 1);
                let end = start + self.random.below(10);
                after.missing.extend(start..end.min(length));
                self.log.clear(start..end, durability)
            }
            _ => {
                let name = format!("name {}", self.random.below(3));
                let value = (!self.random.once_in(3)).then(|| self.random.blocks(1).remove(0));
                match &value {
                    Some(value) => after.user.insert(name.clone(), value.clone()),
                    None => after.user.remove(&name),
                };
                self.log.set_user_data(&name, value, durability)
            }
        }
    }

    fn check(&mut self) {
        let (log, model) = (&self.log, &self.model);
        assert_eq!((log.length(), log.fork()), (model.blocks.len() as u64, model.fork));
        assert_eq!(log.byte_length(), model.blocks.iter().map(|block| block.len() as u64).sum::<u64>());
        let contiguous = (0..).find(|i| model.missing.contains(i) || *i >= log.length()).unwrap();
        assert_eq!(log.contiguous_length(), contiguous);
        let mut tree = Tree::empty(model.fork);
        let mut offset = 0;
        for (index, block) in (0..).zip(&model.blocks) {
            let held = !model.missing.contains(&index);
            assert_eq!(log.has(index), held);
            assert_eq!(log.get(index).unwrap(), held.then(|| block.clone()));
            assert_eq!(log.byte_offset(index).unwrap(), Some(offset));
            offset += block.len() as u64;
            if !self.encrypted {
                tree.push(Node::leaf(index, block), |_| {}).unwrap();
            }
        }
        if !self.encrypted {
            assert_eq!((tree.hash(), &tree), (log.tree_hash(), log.tree()));
        }
        if log.length() > 0 {
            assert!(log.auth().unwrap().verify(log.tree(), log.signature()));
        }
        let user: BTreeMap<String, Bytes> = log.all_user_data().unwrap().into_iter().collect();
        assert_eq!(user, model.user);
        self.check_seek(offset);
    }

    fn check_seek(&mut self, total: u64) {
        let byte = self.random.below(total + 10);
        let found = self.log.seek(byte).unwrap();
        let Seek::Found { index, offset } = found else {
            assert!(byte > total, "{found:?}");
            return;
        };
        let before: u64 = self.model.blocks[..index as usize].iter().map(|block| block.len() as u64).sum();
        assert_eq!(before + offset, byte);
        assert!(self.model.blocks.get(index as usize).is_none_or(|block| offset <= block.len() as u64));
    }
}

#[test]
fn a_list_of_blocks_agrees_whatever_fails() {
    let (mut forks, mut blocks) = (0, 0);
    for seed in seeds(40) {
        println!("seed {seed}");
        let mut run = Run::new(seed);
        for _ in 0..80 {
            run.step();
            run.check();
        }
        forks += run.log.fork();
        blocks += run.log.length();
    }
    assert!(forks > 0 && blocks > 0);
}

#[test]
fn an_append_survives_a_crash_whole_or_not_at_all() {
    let storage = MemoryStorage::with_crashes();
    let create = Create::single(key_pair().public_key());
    let mut log = Log::create(storage.clone(), create).unwrap().with_key_pair(key_pair());
    log.append(&[Bytes::from_static(b"first")], Durability::Durable).unwrap();
    log.append(&vec![Bytes::from_static(b"x"); 100], Durability::Relaxed).unwrap();
    log.append(&[Bytes::from_static(b"last")], Durability::Relaxed).unwrap();
    for (keep, length) in [(1, 101), (0, 101)] {
        storage.crash(keep);
        let log = Log::open(storage.clone()).unwrap();
        // After the first crash nothing is unsynced any more, so the second loses nothing.
        assert_eq!(log.length(), length);
        assert_eq!(log.get(0).unwrap().unwrap(), "first");
    }
}

#[test]
fn what_a_failed_commit_left_past_the_end_is_not_taken_for_the_logs() {
    let [storage, other] = [MemoryStorage::new(), MemoryStorage::new()];
    let head = Slot::new(Table::Head, 0);
    let create = Create::single(key_pair().public_key());
    let mut log = Log::create(storage.clone(), create.clone()).unwrap().with_key_pair(key_pair());
    log.append(&[Bytes::from_static(b"a")], Durability::Relaxed).unwrap();
    let before = Storage::get(&storage, head).unwrap();
    log.append(&vec![Bytes::from_static(b"lost"); 30], Durability::Relaxed).unwrap();
    storage.damage(head, before);
    let mut log = Log::open(storage.clone()).unwrap().with_key_pair(key_pair());
    let mut model = Log::create(other.clone(), create).unwrap().with_key_pair(key_pair());
    model.append(&[Bytes::from_static(b"a")], Durability::Relaxed).unwrap();
    for _ in 0..20 {
        log.append(&[Bytes::from_static(b"b")], Durability::Relaxed).unwrap();
        model.append(&[Bytes::from_static(b"b")], Durability::Relaxed).unwrap();
        for slot in tree_slots(&other) {
            assert_eq!(Storage::get(&storage, slot).unwrap(), Storage::get(&other, slot).unwrap());
        }
    }
}

/// The slots of the tree among all that is stored.
fn tree_slots(storage: &MemoryStorage) -> Vec<Slot> {
    storage.dump().into_iter().map(|(slot, _)| slot).filter(|slot| slot.table == Table::Tree).collect()
}

fn hundred_blocks() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let create = Create::single(key_pair().public_key());
    let mut log = Log::create(storage.clone(), create).unwrap().with_key_pair(key_pair());
    let blocks: Vec<Bytes> = (0..100_u8).map(|i| vec![i; i as usize].into()).collect();
    log.append(&blocks, Durability::Durable).unwrap();
    storage
}

#[test]
fn a_lost_tree_is_made_again_from_its_blocks() {
    let storage = hundred_blocks();
    let whole = storage.dump();
    for slot in tree_slots(&storage) {
        storage.damage(slot, None);
    }
    assert!(matches!(Log::open(storage.clone()), Err(OpenError::Tree { .. })));
    Log::repair(storage.clone()).unwrap();
    assert_eq!(storage.dump(), whole);
    // With a wrong block the tree cannot be the signed one.
    for slot in tree_slots(&storage) {
        storage.damage(slot, None);
    }
    storage.damage(Slot::new(Table::Block, 50), Some(Bytes::from_static(b"no")));
    assert!(Log::repair(storage).is_err());
}

#[test]
fn any_damaged_record_of_the_tree_is_made_again() {
    let storage = hundred_blocks();
    let whole = storage.dump();
    for slot in tree_slots(&storage) {
        for damage in [None, Some(Bytes::from_static(b"damage"))] {
            storage.damage(slot, damage);
            Log::repair(storage.clone()).unwrap();
            assert_eq!(storage.dump(), whole);
        }
        // A wrong block under a lost record is seen, though the roots are whole.
        let block = Slot::new(Table::Block, 8 * slot.key);
        let body = whole.iter().find(|(other, _)| *other == block).unwrap().1.clone();
        storage.damage(slot, None);
        storage.damage(block, Some(Bytes::from_static(b"no")));
        assert!(Log::repair(storage.clone()).is_err());
        storage.damage(block, Some(body));
        for slot in tree_slots(&storage) {
            storage.damage(slot, None);
        }
        Log::repair(storage.clone()).unwrap();
        assert_eq!(storage.dump(), whole);
    }
}

#[test]
fn a_sparse_log_is_repaired_as_far_as_its_blocks_allow() {
    for seed in seeds(30) {
        println!("seed {seed}");
        let mut random = Random(seed);
        let storage = hundred_blocks();
        let mut log = Log::open(storage.clone()).unwrap();
        let hash = log.tree_hash();
        for _ in 0..random.below(6) {
            let start = random.below(100);
            log.clear(start..start + random.below(20), Durability::Relaxed).unwrap();
        }
        let held: Vec<u64> = (0..100).filter(|block| log.has(*block)).collect();
        let slots = tree_slots(&storage);
        storage.damage(slots[random.below(slots.len() as u64) as usize], None);
        // When a root cannot be made again it says so; else everything is as it was.
        match Log::repair(storage.clone()) {
            Err(error) => assert!(matches!(error, OpenError::Tree { .. }), "{error}"),
            Ok(log) => {
                assert_eq!(log.tree_hash(), hash);
                for block in held {
                    assert_eq!(log.get(block).unwrap().unwrap(), vec![block as u8; block as usize]);
                }
            }
        }
    }
}
