//! A change in the making: nodes and a longer tree that are not on disk yet.

use super::Log;
use super::group::{Group, group_of, groups};
use super::head::{HEAD, Head, IDENTITY, Identity};
use crate::proof::Nodes;
use crate::{Auth, Batch, Durability, Node, Slot, Storage, StorageError, Table, Tree, flat};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What a log will be once committed.
pub struct Draft {
    pub batch: Batch,
    pub tree: Tree,
    pub signature: Bytes,
    pub auth: Option<Auth>,
    pub frozen: bool,
    groups: BTreeMap<u64, Staged>,
    /// Records from here on are dropped: what is on disk there is no longer part of the log.
    dropped: u64,
}

#[derive(Default)]
struct Staged {
    group: Group,
    changed: bool,
}

impl<S: Storage> Log<S> {
    /// A draft of no change.
    pub(super) fn draft(&self) -> Draft {
        Draft {
            batch: Batch::new(),
            tree: self.tree.clone(),
            signature: self.head.signature.clone(),
            auth: self.auth.clone(),
            frozen: self.frozen,
            groups: BTreeMap::new(),
            dropped: u64::MAX,
        }
    }

    /// Adds a node to the draft.
    pub(super) fn stage(&self, draft: &mut Draft, node: Node) -> Result<(), StorageError> {
        let staged = self.staged(draft, group_of(node.index))?;
        let was = staged.group.get(node.index);
        if was == Some(node) {
            return Ok(());
        }
        staged.group.put(node);
        staged.changed = true;
        // The size was only told, and wrong: its sibling's then is wrong by as much.
        if was.is_some_and(|was| was.hash == node.hash) {
            let view = View { log: self, draft };
            let above = view.node(flat::parent(node.index))?;
            let beside = view.node(flat::sibling(node.index))?;
            if let (Some(above), Some(mut beside)) = (above, beside) {
                beside.size = above.size.saturating_sub(node.size);
                let staged = self.staged(draft, group_of(beside.index))?;
                staged.group.put(beside);
                staged.changed = true;
            }
        }
        Ok(())
    }

    /// Adds a node whose hash is right and whose size need not be, if there is none yet.
    pub(super) fn stage_told(&self, draft: &mut Draft, node: Node) -> Result<(), StorageError> {
        let staged = self.staged(draft, group_of(node.index))?;
        match staged.group.get(node.index) {
            Some(known) if known.hash == node.hash => Ok(()),
            _ => self.stage(draft, node),
        }
    }

    /// Reads the records that staging `nodes` will need.
    pub(super) fn load_groups(&self, draft: &mut Draft, nodes: &[Node]) -> Result<(), StorageError> {
        nodes.iter().try_for_each(|node| self.staged(draft, group_of(node.index)).map(|_| ()))
    }

    fn staged<'a>(&self, draft: &'a mut Draft, key: u64) -> Result<&'a mut Staged, StorageError> {
        match draft.groups.entry(key) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let group = if key < draft.dropped { self.group(key)? } else { Group::default() };
                Ok(entry.insert(Staged { group, changed: false }))
            }
        }
    }

    /// Drops all nodes that reach past `length` blocks. For a draft without nodes.
    pub(super) fn stage_truncation(&self, draft: &mut Draft, length: u64) -> Result<(), StorageError> {
        draft.dropped = groups(length);
        draft.groups.clear();
        draft.batch.delete_range(Table::Tree, draft.dropped..groups(self.tree.length()));
        if let Some(key) = draft.dropped.checked_sub(1) {
            let mut group = self.group(key)?;
            group.truncate(length);
            draft.groups.insert(key, Staged { group, changed: true });
        }
        Ok(())
    }

    /// One record of nodes, from memory if it is there.
    fn group(&self, key: u64) -> Result<Group, StorageError> {
        if let Some(group) = self.cache.borrow_mut().get(key) {
            return Ok(group.clone());
        }
        self.read_group(key)
    }

    /// A damaged record is as good as none: its nodes count as not held, so that peers bring them again. Only roots
    /// are needed for certain, and those are in memory.
    fn read_group(&self, key: u64) -> Result<Group, StorageError> {
        let record = match self.storage.get(Slot::new(Table::Tree, key)) {
            Err(StorageError::Damaged { .. }) => None,
            other => other?,
        };
        let mut group = record.and_then(|record| Group::decode(key, &record).ok()).unwrap_or_default();
        // A commit that failed may have reached the disk all the same: what is past the end is not of this log.
        group.truncate(self.tree.length());
        for root in self.tree.roots().iter().filter(|root| group_of(root.index) == key) {
            group.put(*root);
        }
        Ok(group)
    }

    /// A node of the log as it is on disk.
    pub(super) fn stored_node(&self, index: u64) -> Result<Option<Node>, StorageError> {
        if let Some(root) = self.tree.roots().iter().find(|root| root.index == index) {
            return Ok(Some(*root));
        }
        let key = group_of(index);
        if let Some(group) = self.cache.borrow_mut().get(key) {
            return Ok(group.get(index));
        }
        let group = self.read_group(key)?;
        let node = group.get(index);
        self.cache.borrow_mut().put(key, group);
        Ok(node)
    }

    /// Writes the draft and makes it the log; when that fails the log is as before.
    pub(super) fn commit(&mut self, mut draft: Draft, durability: Durability) -> Result<(), StorageError> {
        let head = self.next_head(&draft);
        for (key, staged) in &draft.groups {
            let slot = Slot::new(Table::Tree, *key);
            if staged.changed && staged.group.is_empty() {
                draft.batch.delete(slot);
            } else if staged.changed {
                draft.batch.put(slot, staged.group.encode(*key));
            }
        }
        self.held.changes(&mut draft.batch);
        if head != self.head {
            draft.batch.put(HEAD, head.encode());
        }
        if draft.auth != self.auth || draft.frozen != self.frozen {
            let manifest = draft.auth.as_ref().map(|auth| auth.manifest().clone());
            let identity = Identity { key: self.key, manifest, frozen: draft.frozen };
            draft.batch.put(IDENTITY, identity.encode());
        }
        if !draft.batch.is_empty()
            && let Err(error) = self.storage.commit(draft.batch, durability)
        {
            self.held.undo();
            return Err(error);
        }
        self.held.accept();
        let cache = self.cache.get_mut();
        // A reorganisation drops records that its longer tree has again, but with other nodes.
        cache.forget_from(draft.dropped);
        for (key, staged) in draft.groups {
            cache.put(key, staged.group);
        }
        self.head = head;
        self.tree = draft.tree;
        self.frozen = draft.frozen;
        if draft.auth != self.auth {
            self.auth = draft.auth;
            self.choose_cipher();
        }
        Ok(())
    }

    fn next_head(&self, draft: &Draft) -> Head {
        Head {
            fork: draft.tree.fork,
            length: draft.tree.length(),
            byte_length: draft.tree.byte_length(),
            contiguous: self.held.contiguous(),
            runs: self.held.runs(),
            tree_hash: if draft.tree == self.tree { self.head.tree_hash } else { draft.tree.hash() },
            signature: draft.signature.clone(),
        }
    }
}

impl<S: Storage> Nodes for Log<S> {
    fn node(&self, index: u64) -> Result<Option<Node>, StorageError> {
        self.stored_node(index)
    }
}

/// The log with a draft over it.
pub(super) struct View<'a, S> {
    pub log: &'a Log<S>,
    pub draft: &'a Draft,
}

impl<S: Storage> Nodes for View<'_, S> {
    fn node(&self, index: u64) -> Result<Option<Node>, StorageError> {
        match self.draft.groups.get(&group_of(index)) {
            Some(staged) => Ok(staged.group.get(index)),
            None if group_of(index) >= self.draft.dropped => Ok(None),
            None => self.log.stored_node(index),
        }
    }
}
