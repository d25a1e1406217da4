//! Folders and files, and the operations that change them.

use super::content::Content;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

/// A file or folder, whatever it is called. The root is 1, as FUSE wants it.
pub type Node = u64;

/// The folder that everything lies in.
pub const ROOT: Node = 1;

/// What a program did to the disk, or a mark that it left there.
#[derive(Clone, Debug)]
pub enum Op {
    /// A new file or folder under a name.
    Create { folder: Node, name: OsString, node: Node, kind: Kind },
    /// A name is gone.
    Remove { folder: Node, name: OsString },
    /// A name becomes another, replacing what had that.
    Move { from: (Node, OsString), to: (Node, OsString) },
    /// Bytes of a file.
    Write { node: Node, offset: u64, data: Arc<[u8]> },
    /// The length of a file.
    Length { node: Node, length: u64 },
    /// Everything done to this file or folder so far is on the disk when this is answered.
    Sync { node: Node },
    /// A sync that was made to fail: bytes written so far may never reach the disk, whatever a later sync answers
    /// (Rebello and others: Can Applications Recover from fsync Failures?, 2020).
    FailedSync { node: Node },
    /// Said by the program under test: it begins its step of this number.
    Begun(u64),
    /// Said by the program under test: it was told that this step is done for good.
    Done(u64),
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has bytes.
    File,
    /// Has names.
    Folder,
}

/// Names and bytes at one moment. Clones share what they have in common.
#[derive(Clone)]
pub struct Tree {
    /// Names in each folder.
    pub folders: BTreeMap<Node, BTreeMap<OsString, Node>>,
    /// Bytes of each file.
    pub files: BTreeMap<Node, Content>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { folders: BTreeMap::from([(ROOT, BTreeMap::new())]), files: BTreeMap::new() }
    }
}

impl Tree {
    /// Carries out one operation. What concerns a name that is not there changes nothing.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { folder, name, node, kind } => {
                match kind {
                    Kind::File => drop(self.files.entry(*node).or_default()),
                    Kind::Folder => drop(self.folders.entry(*node).or_default()),
                }
                self.link(*folder, name, *node);
            }
            Op::Remove { folder, name } => {
                self.unlink(*folder, name);
            }
            Op::Move { from, to } => {
                if let Some(node) = self.unlink(from.0, &from.1) {
                    self.link(to.0, &to.1, node);
                }
            }
            // Bytes can be on a disk before their name is, and so can the names in a folder.
            Op::Write { node, offset, data } => self.files.entry(*node).or_default().write(*offset, data),
            Op::Length { node, length } => self.files.entry(*node).or_default().set_length(*length),
            Op::Sync { .. } | Op::FailedSync { .. } | Op::Begun(_) | Op::Done(_) => {}
        }
    }

    /// The node of a name.
    pub fn find(&self, folder: Node, name: &std::ffi::OsStr) -> Option<Node> {
        self.folders.get(&folder)?.get(name).copied()
    }

    /// How a node is called, for people.
    pub fn path(&self, node: Node) -> String {
        let holds = |(folder, names): (&Node, &BTreeMap<OsString, Node>)| {
            let name = names.iter().find(|(_, named)| **named == node)?.0.to_string_lossy().into_owned();
            Some((*folder, name))
        };
        match self.folders.iter().find_map(holds) {
            Some((ROOT, name)) => name,
            Some((folder, name)) => format!("{}/{name}", self.path(folder)),
            None => format!("node {node}"),
        }
    }

    fn link(&mut self, folder: Node, name: &OsString, node: Node) {
        self.folders.entry(folder).or_default().insert(name.clone(), node);
    }

    fn unlink(&mut self, folder: Node, name: &OsString) -> Option<Node> {
        self.folders.get_mut(&folder)?.remove(name)
    }
}
