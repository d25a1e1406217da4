//! Making a damaged tree again from the blocks that are held. What comes out is checked against the hash that was
//! signed.

use super::group::{Group, group_of, groups};
use super::held::Held;
use super::open::records;
use super::{Log, OpenError};
use crate::{Batch, Durability, Node, Slot, Storage, StorageError, Table, Tree, flat};
use std::cell::RefCell;

/// Records written in one commit.
const AT_ONCE: usize = 1024;

impl<S: Storage> Log<S> {
    /// Makes the records of the tree that are damaged or missing again, as far as the blocks that are held allow, and
    /// opens the log. Needed when [`open`](Self::open) tells [`OpenError::Tree`]; takes as long as reading the log.
    pub fn repair(mut storage: S) -> Result<Self, OpenError> {
        let (_, head) = records(&storage)?;
        let held = Held::load(&storage, head.contiguous, head.runs)?;
        if head.length >= flat::LIMIT / 2 {
            return Err(OpenError::Tree { index: head.length });
        }
        let source = Source { storage: &storage, held: &held, last: RefCell::default() };
        let mut roots = Vec::new();
        for index in flat::roots(head.length) {
            roots.push(source.node(index)?.ok_or(OpenError::Tree { index })?);
        }
        let tree = Tree::from_roots(roots, head.fork);
        if tree.is_none_or(|tree| tree.hash() != head.tree_hash) {
            return Err(OpenError::Tree { index: 0 });
        }
        let mut key = 0;
        while key < groups(head.length) {
            let (batch, next) = mend(&storage, &held, key, head.length)?;
            if !batch.is_empty() {
                storage.commit(batch, Durability::Durable)?;
            }
            key = next;
        }
        agree(&storage, &held, head.length)?;
        Log::open(storage)
    }
}

/// Makes damaged and missing nodes again from record `first` on; says where it stopped.
fn mend(storage: &impl Storage, held: &Held, first: u64, length: u64) -> Result<(Batch, u64), OpenError> {
    let source = Source { storage, held, last: RefCell::default() };
    let mut batch = Batch::new();
    for key in first..groups(length) {
        if batch.changes().len() == AT_ONCE {
            return Ok((batch, key));
        }
        let slot = Slot::new(Table::Tree, key);
        let (was, damaged) = match source.record(key) {
            Ok(record) => (record.unwrap_or_default(), false),
            Err(StorageError::Damaged { .. }) => (Group::default(), true),
            Err(error) => return Err(error.into()),
        };
        let mut group = was.clone();
        for index in indexes(key, length).filter(|index| was.get(*index).is_none()) {
            if let Some(node) = source.node(index)? {
                group.put(node);
            }
        }
        if group != was {
            batch.put(slot, group.encode(key));
        } else if damaged {
            batch.delete(slot);
        }
    }
    Ok((batch, groups(length)))
}

/// The nodes of record `key` in a log of `length` blocks.
fn indexes(key: u64, length: u64) -> impl Iterator<Item = u64> {
    let last_leaves = (0..length).skip((8 * key) as usize).take(8);
    last_leaves.flat_map(|leaf| {
        let above = (0..=leaf.trailing_ones()).map(move |depth| flat::index(depth, leaf >> depth));
        above.filter(move |index| flat::right_span(*index) == 2 * leaf)
    })
}

/// Fails when a node is not what its children make, where all three are there.
fn agree(storage: &impl Storage, held: &Held, length: u64) -> Result<(), OpenError> {
    let source = Source { storage, held, last: RefCell::default() };
    for key in 0..groups(length) {
        for index in indexes(key, length) {
            let Some((left, right)) = flat::children(index) else { continue };
            let Some(node) = source.stored(index)? else { continue };
            if let (Some(left), Some(right)) = (source.stored(left)?, source.stored(right)?)
                && Node::parent(&left, &right).is_none_or(|parent| parent.hash != node.hash)
            {
                return Err(OpenError::Tree { index });
            }
        }
    }
    Ok(())
}

/// Where nodes come from while the tree is damaged.
struct Source<'a, S> {
    storage: &'a S,
    held: &'a Held,
    /// The record read last.
    last: RefCell<Option<(u64, Group)>>,
}

impl<S: Storage> Source<'_, S> {
    fn record(&self, key: u64) -> Result<Option<Group>, StorageError> {
        let slot = Slot::new(Table::Tree, key);
        let Some(record) = self.storage.get(slot)? else { return Ok(None) };
        let group = Group::decode(key, &record);
        group.map(Some).map_err(|_| StorageError::Damaged { slot, detail: "not a record of tree nodes" })
    }

    /// A node that is stored and not damaged.
    fn stored(&self, index: u64) -> Result<Option<Node>, StorageError> {
        let key = group_of(index);
        let mut last = self.last.borrow_mut();
        if let Some((_, group)) = last.as_ref().filter(|(other, _)| *other == key) {
            return Ok(group.get(index));
        }
        let group = match self.record(key) {
            Err(StorageError::Damaged { .. }) => Group::default(),
            other => other?.unwrap_or_default(),
        };
        let node = group.get(index);
        *last = Some((key, group));
        Ok(node)
    }

    /// A node, made from what is below it when it is not stored.
    fn node(&self, index: u64) -> Result<Option<Node>, StorageError> {
        if let Some(node) = self.stored(index)? {
            return Ok(Some(node));
        }
        // Nothing can be made of nothing.
        if self
            .held
            .next_held(flat::blocks(index).start)
            .is_none_or(|run| run.start >= flat::blocks(index).end)
        {
            return Ok(None);
        }
        let Some((left, right)) = flat::children(index) else { return self.leaf(index / 2) };
        let (Some(left), Some(right)) = (self.node(left)?, self.node(right)?) else { return Ok(None) };
        Ok(Node::parent(&left, &right))
    }

    fn leaf(&self, block: u64) -> Result<Option<Node>, StorageError> {
        match self.storage.get(Slot::new(Table::Block, block)) {
            Err(StorageError::Damaged { .. }) => Ok(None),
            body => Ok(body?.map(|body| Node::leaf(block, &body))),
        }
    }
}
