//! Keeps the list of what was done, and makes chosen calls fail.

use super::tree::{Kind, Node, Op, Tree};
use std::ffi::{OsStr, OsString};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// One call answers EIO, those after it work again.
    Once,
    /// Every call from then on answers EIO.
    ForEver,
    /// Every call from then on that needs space answers ENOSPC.
    Full,
}

/// Which call fails, counted from 0, and how.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The call that fails first.
    pub at: u64,
    /// And how.
    pub trouble: Trouble,
}

/// What a call asks of a disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Reads only.
    Look,
    /// Changes something without growing.
    Change,
    /// May need space that is not there.
    Space,
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// EIO
    Broken,
    /// ENOSPC
    Full,
    /// ENOENT
    Missing,
    /// EEXIST
    Exists,
    /// ENOTEMPTY
    NotEmpty,
}

/// The disk: what is on it now, and how it came there.
pub struct Recorder {
    disk: Mutex<Disk>,
}

struct Disk {
    tree: Tree,
    ops: Vec<Op>,
    next_node: Node,
    calls: u64,
    fault: Option<Fault>,
    failed: u64,
    first_failed: Option<String>,
}

impl Recorder {
    /// An empty disk, or one with what lies in `tree`; calls are counted from now.
    pub fn new(tree: Tree, fault: Option<Fault>) -> Self {
        let nodes = tree.folders.keys().chain(tree.files.keys());
        let next_node = nodes.max().map_or(2, |last| last + 1);
        Self {
            disk: Mutex::new(Disk {
                tree,
                ops: Vec::new(),
                next_node,
                calls: 0,
                fault,
                failed: 0,
                first_failed: None,
            }),
        }
    }

    /// Leaves a mark between the operations.
    pub fn mark(&self, mark: Op) {
        self.lock().ops.push(mark);
    }

    /// From now on no call fails.
    pub fn heal(&self) {
        self.lock().fault = None;
    }

    /// What is on the disk now, had nothing been lost.
    pub fn tree(&self) -> Tree {
        self.lock().tree.clone()
    }

    /// Everything that was done so far.
    pub fn ops(&self) -> Vec<Op> {
        self.lock().ops.clone()
    }

    /// Calls so far, and how many of them were made to fail.
    pub fn calls(&self) -> (u64, u64) {
        let disk = self.lock();
        (disk.calls, disk.failed)
    }

    /// The first call that was made to fail, for people.
    pub fn first_failed(&self) -> String {
        self.lock().first_failed.clone().unwrap_or_else(|| "a call about names, or one that reads".into())
    }

    /// Counts a call that reads and gives what `look` sees.
    pub fn look<T>(&self, look: impl FnOnce(&Tree) -> T) -> Result<T, Refused> {
        let mut disk = self.lock();
        disk.call(Need::Look)?;
        Ok(look(&disk.tree))
    }

    /// The same for what is asked so often, and answered from caches so often, that it is not counted.
    pub fn peek<T>(&self, look: impl FnOnce(&Tree) -> T) -> T {
        look(&self.lock().tree)
    }

    /// Does what changes bytes or makes them last.
    pub fn change(&self, need: Need, op: Op) -> Result<(), Refused> {
        let mut disk = self.lock();
        let called = disk.call(need);
        if called.is_err() {
            let told = disk.describe(&op);
            disk.first_failed.get_or_insert(told);
        }
        match (called, op) {
            (Ok(()), op) => disk.carry_out(op),
            (Err(_), Op::Sync { node }) => disk.carry_out(Op::FailedSync { node }),
            (Err(_), _) => {}
        }
        called
    }

    /// A new file or folder.
    pub fn create(&self, folder: Node, name: &OsStr, kind: Kind) -> Result<Node, Refused> {
        let mut disk = self.lock();
        disk.call(Need::Space)?;
        if disk.tree.find(folder, name).is_some() {
            return Err(Refused::Exists);
        }
        let node = disk.next_node;
        disk.next_node += 1;
        disk.carry_out(Op::Create { folder, name: name.to_owned(), node, kind });
        Ok(node)
    }

    /// Takes a name away.
    pub fn remove(&self, folder: Node, name: &OsStr) -> Result<(), Refused> {
        let mut disk = self.lock();
        disk.call(Need::Change)?;
        let node = disk.tree.find(folder, name).ok_or(Refused::Missing)?;
        if disk.tree.folders.get(&node).is_some_and(|names| !names.is_empty()) {
            return Err(Refused::NotEmpty);
        }
        disk.carry_out(Op::Remove { folder, name: name.to_owned() });
        Ok(())
    }

    /// Gives something another name, in place of what has it.
    pub fn rename(&self, from: (Node, &OsStr), to: (Node, &OsStr)) -> Result<(), Refused> {
        let owned = |(folder, name): (Node, &OsStr)| -> (Node, OsString) { (folder, name.to_owned()) };
        let mut disk = self.lock();
        disk.call(Need::Change)?;
        disk.tree.find(from.0, from.1).ok_or(Refused::Missing)?;
        disk.carry_out(Op::Move { from: owned(from), to: owned(to) });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn call(&mut self, need: Need) -> Result<(), Refused> {
        let number = self.calls;
        self.calls += 1;
        let Some(fault) = self.fault else { return Ok(()) };
        let refused = match fault.trouble {
            Trouble::Once if number == fault.at => Refused::Broken,
            Trouble::ForEver if number >= fault.at => Refused::Broken,
            Trouble::Full if number >= fault.at && need == Need::Space => Refused::Full,
            _ => return Ok(()),
        };
        self.failed += 1;
        Err(refused)
    }

    fn describe(&self, op: &Op) -> String {
        match op {
            Op::Write { node, offset, data } => {
                format!("{} bytes written at {offset} of {}", data.len(), self.tree.path(*node))
            }
            Op::Length { node, length } => format!("{} made {length} long", self.tree.path(*node)),
            Op::Sync { node } => format!("sync of {}", self.tree.path(*node)),
            other => format!("{other:?}"),
        }
    }

    fn carry_out(&mut self, op: Op) {
        self.tree.apply(&op);
        self.ops.push(op);
    }
}
