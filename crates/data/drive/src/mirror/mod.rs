//! Making a folder of this machine equal to a drive, or a drive equal to a folder.
//!
//! A mirror compares first and writes only what differs, so one that was interrupted goes on where it was: files that
//! are complete are equal, blocks that were fetched are on this device. What one side cannot hold (a link that leads
//! outside, a name that no file can have, an entry that cannot be read) is left out and told; the rest goes on.

mod ahead;
mod compare;
mod from_folder;
mod to_folder;

use crate::blobs::BlobError;
use crate::error::{ReadError, WriteError};
use crate::folder::{FolderError, LinkError};
use crate::list::Ignore;
use crate::path::Folder;
use std::ops::ControlFlow;

/// What to mirror, and how.
#[derive(Clone, Debug, Default)]
pub struct MirrorOptions {
    /// Only what is below, at the same path on both sides.
    pub folder: Folder,
    /// What neither side gets or loses.
    pub ignore: Ignore,
    /// What happens to files that only the other side has.
    pub surplus: Surplus,
    /// Whether anything is written at all.
    pub run: Run,
    /// What happens to contents that the drive no longer has after a mirror from a folder.
    pub old_contents: OldContents,
}

/// Files that only the side to be written has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Surplus {
    /// They are deleted, so that both sides are equal.
    #[default]
    Delete,
    /// They stay.
    Keep,
}

/// Whether a mirror writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Run {
    /// It does.
    #[default]
    Real,
    /// It tells what it would do.
    Dry,
}

/// Contents of files that a mirror changed or deleted in a drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OldContents {
    /// They stay for older versions.
    #[default]
    Keep,
    /// They are freed on this device, unless another file shares them.
    Free,
}

/// What a mirror does to one file.
#[derive(Debug)]
pub struct Step<'s> {
    /// What.
    pub op: Op,
    /// To which file.
    pub path: &'s str,
    /// Bytes of its new content.
    pub bytes_added: u64,
    /// Bytes of its old content.
    pub bytes_removed: u64,
    /// Why it was left out, if it was.
    pub reason: Option<&'s LeftOut>,
}

/// What a mirror does to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// It is new.
    Add,
    /// It has another content or target.
    Change,
    /// Only the right to run it changes.
    Rights,
    /// It is deleted.
    Remove,
    /// It is the same on both sides.
    Equal,
    /// It cannot be mirrored.
    LeaveOut,
}

/// Something to show while a mirror runs.
#[derive(Debug)]
pub enum Progress<'s> {
    /// The next file. It is told before it is done.
    Step(Step<'s>),
    /// A content on its way. One that is looked at first, to find an equal one, begins again at 0 when it is stored.
    Bytes {
        /// Whose.
        path: &'s str,
        /// Bytes done.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
}

/// Told of everything a mirror does; `Break` stops it.
pub type Watch<'w> = &'w mut dyn FnMut(Progress<'_>) -> ControlFlow<()>;

/// What a mirror did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mirrored {
    /// Files and links compared.
    pub files: u64,
    /// New ones.
    pub added: u64,
    /// Ones with another content, target or right.
    pub changed: u64,
    /// Deleted ones.
    pub removed: u64,
    /// Ones that were the same.
    pub equal: u64,
    /// Ones that could not be mirrored.
    pub left_out: u64,
    /// Bytes of new contents.
    pub bytes_added: u64,
    /// Bytes of contents that were replaced or deleted.
    pub bytes_removed: u64,
}

/// Why a file is not mirrored while others are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeftOut {
    /// Its entry or content in the drive.
    #[error(transparent)]
    Drive(#[from] ReadError),
    /// Its place in the folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Where its link leads.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A name that no drive can hold.
    #[error("`{name}` is no name that a drive can hold: rename it")]
    Name {
        /// The name, made printable.
        name: String,
    },
    /// No file, link or folder.
    #[error("it is a device, pipe or socket")]
    Special,
}

/// Why a mirror stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// Reading the drive.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing the drive.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Reading or writing the folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Whoever watched wanted it.
    #[error("the mirror was stopped; run it again to go on")]
    Stopped,
}

/// Counts what is done and tells whoever watches. For mirrors of a drive that is not on this device, too.
pub struct Course<'w> {
    watch: Watch<'w>,
    done: Mirrored,
}

impl<'w> Course<'w> {
    /// At its beginning.
    pub fn new(watch: Watch<'w>) -> Self {
        Self { watch, done: Mirrored::default() }
    }

    /// What was done so far.
    pub fn done(&self) -> Mirrored {
        self.done
    }

    /// Tells something; an error if it was to be the last.
    pub fn tell(&mut self, progress: Progress<'_>) -> Result<(), MirrorError> {
        match (self.watch)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(MirrorError::Stopped),
        }
    }

    /// Counts and tells what is done to the file at `path`.
    pub fn step(&mut self, op: Op, path: &str, bytes: Bytes) -> Result<(), MirrorError> {
        let counter = match op {
            Op::Add => &mut self.done.added,
            Op::Change | Op::Rights => &mut self.done.changed,
            Op::Remove => &mut self.done.removed,
            Op::Equal => &mut self.done.equal,
            Op::LeaveOut => &mut self.done.left_out,
        };
        *counter += 1;
        self.done.files += u64::from(op != Op::Remove);
        self.done.bytes_added += bytes.added;
        self.done.bytes_removed += bytes.removed;
        let Bytes { added: bytes_added, removed: bytes_removed } = bytes;
        self.tell(Progress::Step(Step { op, path, bytes_added, bytes_removed, reason: None }))
    }

    /// Counts and tells that the file at `path` is left out.
    pub fn leave_out(&mut self, path: &str, reason: &LeftOut) -> Result<(), MirrorError> {
        self.done.files += 1;
        self.done.left_out += 1;
        let step = Step { op: Op::LeaveOut, path, bytes_added: 0, bytes_removed: 0, reason: Some(reason) };
        self.tell(Progress::Step(step))
    }

    /// Leaves out what one faulty file explains; anything else stops the mirror.
    fn bear(&mut self, path: &str, error: MirrorError) -> Result<(), MirrorError> {
        match error {
            MirrorError::Folder(error) if error.is_of_one_file() => self.leave_out(path, &error.into()),
            MirrorError::Read(error) if is_of_one_entry(&error) => self.leave_out(path, &error.into()),
            error => Err(error),
        }
    }
}

/// Bytes that a step moves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes {
    /// Of the new content.
    pub added: u64,
    /// Of the old one.
    pub removed: u64,
}

fn is_of_one_entry(error: &ReadError) -> bool {
    let faulty = |e: &BlobError| {
        matches!(e, BlobError::Length { .. } | BlobError::Map { .. } | BlobError::Beyond { .. })
    };
    match error {
        ReadError::Blob { source, .. } => faulty(source),
        error => error.is_of_one_file(),
    }
}
