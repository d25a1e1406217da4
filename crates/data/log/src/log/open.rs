//! Making a log and opening it again.

use super::Log;
use super::group::{Cache, Group, group_of};
use super::head::{HEAD, Head, IDENTITY, Identity};
use super::held::Held;
use crate::codec::CodecError;
use crate::{Auth, Batch, Durability, Manifest, Slot, Storage, StorageError, Table, Tree, flat, hash};
use std::cell::RefCell;

/// Which log to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    key: [u8; 32],
    manifest: Option<Manifest>,
}

impl Create {
    /// The default: version 1 manifest with this one signer, key = hash of the manifest.
    pub fn single(public_key: [u8; 32]) -> Self {
        Create::with_manifest(Manifest::single(public_key))
    }

    /// A compat log, as npm hypercore 10 makes by default: its key is its signer's.
    pub fn compat(public_key: [u8; 32]) -> Self {
        Create { key: public_key, manifest: Some(Manifest::single(public_key)) }
    }

    /// A log with a manifest of its own.
    pub fn with_manifest(manifest: Manifest) -> Self {
        Create { key: manifest.key(), manifest: Some(manifest) }
    }

    /// A copy of someone else's log, of which only the key is known. The manifest comes from a peer.
    pub const fn remote(key: [u8; 32]) -> Self {
        Create { key, manifest: None }
    }

    /// The key that the log will have.
    pub const fn key(&self) -> &[u8; 32] {
        &self.key
    }
}

/// Why a log cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The storage holds none.
    #[error("there is no log here: create it first")]
    Absent,
    /// The storage holds one already.
    #[error("there is a log here already: open it instead")]
    Present,
    /// No log can have this manifest.
    #[error("cannot create a log with this manifest")]
    Manifest(#[source] crate::ManifestError),
    /// A record is not what was written.
    #[error("cannot read the log's record at {slot:?}: repair the store")]
    Record {
        /// Where it lies.
        slot: Slot,
        /// What is wrong with it.
        source: CodecError,
    },
    /// The tree does not fit the head. [`Log::repair`] makes it again from the blocks.
    #[error("the log's tree is damaged at node {index}: repair it from its blocks or from a peer")]
    Tree {
        /// The first root that is missing or wrong.
        index: u64,
    },
    /// The engine below.
    #[error("cannot open the log")]
    Storage(#[from] StorageError),
}

impl<S: Storage> Log<S> {
    /// Makes a new empty log in empty storage.
    pub fn create(mut storage: S, create: Create) -> Result<Self, OpenError> {
        if let Some(manifest) = &create.manifest {
            manifest.check().map_err(OpenError::Manifest)?;
        }
        if storage.get(IDENTITY)?.is_some() {
            return Err(OpenError::Present);
        }
        let identity = Identity { key: create.key, manifest: create.manifest, frozen: false };
        let head = Head { tree_hash: super::empty_hash(), ..Head::default() };
        let mut batch = Batch::new();
        batch.put(IDENTITY, identity.encode());
        batch.put(HEAD, head.encode());
        storage.commit(batch, Durability::Relaxed)?;
        Ok(Log::assemble(storage, identity, head, Tree::empty(0), Held::default()))
    }

    /// Opens the log that the storage holds.
    pub fn open(storage: S) -> Result<Self, OpenError> {
        let (identity, head) = records(&storage)?;
        let tree = load_tree(&storage, &head)?;
        let held = Held::load(&storage, head.contiguous, head.runs)?;
        Ok(Log::assemble(storage, identity, head, tree, held))
    }

    /// Opens the log in `storage`, or makes it when there is none.
    pub fn open_or_create(storage: S, create: Create) -> Result<Self, OpenError> {
        if storage.get(IDENTITY)?.is_some() { Log::open(storage) } else { Log::create(storage, create) }
    }

    fn assemble(storage: S, identity: Identity, head: Head, tree: Tree, held: Held) -> Self {
        Log {
            storage,
            discovery_key: hash::discovery_key(&identity.key),
            auth: identity.manifest.and_then(|manifest| Auth::new(identity.key, manifest)),
            key: identity.key,
            frozen: identity.frozen,
            tree,
            head,
            held,
            cache: RefCell::new(Cache::default()),
            key_pair: None,
            cipher: None,
            encryption: None,
        }
    }
}

pub(super) fn records(storage: &impl Storage) -> Result<(Identity, Head), OpenError> {
    let identity = storage.get(IDENTITY)?.ok_or(OpenError::Absent)?;
    let identity =
        Identity::decode(&identity).map_err(|source| OpenError::Record { slot: IDENTITY, source })?;
    let head = storage.get(HEAD)?.ok_or(StorageError::Damaged { slot: HEAD, detail: "missing" })?;
    let head = Head::decode(&head).map_err(|source| OpenError::Record { slot: HEAD, source })?;
    Ok((identity, head))
}

fn load_tree(storage: &impl Storage, head: &Head) -> Result<Tree, OpenError> {
    let mut roots = Vec::new();
    if head.length >= flat::LIMIT / 2 {
        return Err(OpenError::Tree { index: head.length });
    }
    for index in flat::roots(head.length) {
        let key = group_of(index);
        let record = storage.get(Slot::new(Table::Tree, key))?.ok_or(OpenError::Tree { index })?;
        let group = Group::decode(key, &record).map_err(|_| OpenError::Tree { index })?;
        roots.push(group.get(index).ok_or(OpenError::Tree { index })?);
    }
    let tree = Tree::from_roots(roots, head.fork).filter(|tree| tree.hash() == head.tree_hash);
    tree.ok_or(OpenError::Tree { index: 0 })
}
