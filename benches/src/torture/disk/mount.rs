//! The file system that the engine sees. Linux only, as root, with `/dev/fuse`; it needs neither libfuse nor
//! fusermount.
//!
//! The kernel hands every write on before it answers the program (no write-back cache), so the list
//! has each call as the engine made it. Advisory locks stay in the kernel.

use super::record::{Need, Recorder, Refused};
use super::tree::{Kind, Node, Op};
use crate::place;
use anyhow::{Context as _, Result};
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nothing else changes these files, so the kernel may remember names and sizes.
const REMEMBER: Duration = Duration::from_secs(3600);

/// A folder with a [`Recorder`] behind it, until this is dropped. Whoever has files open there must close
/// them before.
pub struct Mounted {
    session: Option<BackgroundSession>,
    folder: tempfile::TempDir,
    recorder: Arc<Recorder>,
}

impl Mounted {
    /// Mounts the disk on a new folder.
    pub fn new(recorder: Recorder) -> Result<Self> {
        let recorder = Arc::new(recorder);
        let folder = place::disk_folder()?;
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("cloudpal-torture".into()), MountOption::NoAtime];
        let session = fuser::spawn_mount(Disk(Arc::clone(&recorder)), folder.path(), &config).context(
            "cannot mount the recording disk; this takes root and /dev/fuse (in a container: --device /dev/fuse --cap-add \
             SYS_ADMIN)",
        )?;
        Ok(Self { session: Some(session), folder, recorder })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The disk itself.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Not joined: where another namespace has copied the mount, its thread lives until that ends.
        place::unmount(self.folder.path());
        drop(self.session.take());
    }
}

struct Disk(Arc<Recorder>);

impl Disk {
    fn attributes(&self, node: Node) -> Option<FileAttr> {
        let (kind, size) = self.0.peek(|tree| match tree.files.get(&node) {
            Some(file) => Some((FileType::RegularFile, file.length())),
            None => tree.folders.get(&node).map(|_| (FileType::Directory, 0)),
        })?;
        let folder = kind == FileType::Directory;
        Some(FileAttr {
            ino: INodeNo(node),
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: if folder { 0o755 } else { 0o644 },
            nlink: if folder { 2 } else { 1 },
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn entry(&self, node: Option<Node>, reply: ReplyEntry) {
        match node.and_then(|node| self.attributes(node)) {
            Some(attributes) => reply.entry(&REMEMBER, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }
}

fn errno(refused: Refused) -> Errno {
    match refused {
        Refused::Broken => Errno::EIO,
        Refused::Full => Errno::ENOSPC,
        Refused::Missing => Errno::ENOENT,
        Refused::Exists => Errno::EEXIST,
        Refused::NotEmpty => Errno::ENOTEMPTY,
    }
}

fn answer(result: Result<(), Refused>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(refused) => reply.error(errno(refused)),
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(self.0.peek(|tree| tree.find(parent.0, name)), reply);
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(node.0) {
            Some(attributes) => reply.attr(&REMEMBER, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if let Some(length) = size {
            let grows = self.0.peek(|tree| tree.files.get(&node.0).is_none_or(|file| file.length() < length));
            let need = if grows { Need::Space } else { Need::Change };
            if let Err(refused) = self.0.change(need, Op::Length { node: node.0, length }) {
                return reply.error(errno(refused));
            }
        }
        match self.attributes(node.0) {
            Some(attributes) => reply.attr(&REMEMBER, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _mode: u32, _umask: u32, reply: ReplyEntry) {
        match self.0.create(parent.0, name, Kind::Folder) {
            Ok(node) => self.entry(Some(node), reply),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let created = self.0.create(parent.0, name, Kind::File);
        match created.map(|node| self.attributes(node)) {
            Ok(Some(attributes)) => {
                reply.created(&REMEMBER, &attributes, Generation(0), FileHandle(0), FopenFlags::empty());
            }
            Ok(None) => reply.error(Errno::ENOENT),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(self.0.remove(parent.0, name), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(self.0.remove(parent.0, name), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to_parent: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        // Without a replacing or exchanging rename the engine falls back to what is recorded here.
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        answer(self.0.rename((parent.0, name), (to_parent.0, to_name)), reply);
    }

    fn open(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.0.look(|tree| tree.files.contains_key(&node.0)) {
            Ok(true) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Ok(false) => reply.error(Errno::ENOENT),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.0.look(|tree| tree.files.get(&node.0).map(|file| file.read(offset, size as usize)));
        match read {
            Ok(Some(data)) => reply.data(&data),
            Ok(None) => reply.error(Errno::ENOENT),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.change(Need::Space, Op::Write { node: node.0, offset, data: data.into() }) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn fsync(&self, _: &Request, node: INodeNo, _: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        answer(self.0.change(Need::Change, Op::Sync { node: node.0 }), reply);
    }

    fn fsyncdir(&self, _: &Request, node: INodeNo, _: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        answer(self.0.change(Need::Change, Op::Sync { node: node.0 }), reply);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(&self, _: &Request, node: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let names = self.0.look(|tree| {
            let names = tree.folders.get(&node.0)?;
            let kind = |node| {
                if tree.files.contains_key(node) { FileType::RegularFile } else { FileType::Directory }
            };
            Some(names.iter().map(|(name, node)| (name.clone(), *node, kind(node))).collect::<Vec<_>>())
        });
        let names = match names {
            Ok(Some(names)) => names,
            Ok(None) => return reply.error(Errno::ENOENT),
            Err(refused) => return reply.error(errno(refused)),
        };
        for (number, (name, node, kind)) in names.into_iter().enumerate().skip(offset as usize) {
            if reply.add(INodeNo(node), number as u64 + 1, kind, &name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let blocks = 1 << 30;
        reply.statfs(blocks, blocks, blocks, 0, 0, 4096, 255, 4096);
    }
}
