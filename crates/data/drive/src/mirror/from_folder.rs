//! From a folder to a drive.

use super::compare::{Same, compare};
use super::{
    Bytes, Course, LeftOut, MirrorError, MirrorOptions, Mirrored, OldContents, Op, Progress, Run, Surplus,
    Watch,
};
use crate::batch::Batch;
use crate::checkout::{Checkout, FileEntry};
use crate::drive::{About, Drive};
use crate::entry::{BlobId, Entry};
use crate::error::ReadError;
use crate::folder::{FolderError, Found, Local, LocalFolder};
use crate::path::DrivePath;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Files up to this many bytes are read whole, and many are stored in one append.
const SMALL: u64 = 1 << 20;
/// Changes are seen by others at least every so many files and bytes: a mirror that is interrupted has lost no more.
const FLUSH_FILES: u64 = 1024;
const FLUSH_BYTES: u64 = 64 << 20;

/// A mirror into a drive under way.
struct Import<'i, 'w> {
    drive: &'i Drive,
    /// The drive as it was at the start.
    before: Checkout,
    folder: &'i LocalFolder,
    options: &'i MirrorOptions,
    course: Course<'w>,
    batch: Option<Batch>,
    batch_files: u64,
    batch_bytes: u64,
    /// Contents that are no longer named once the batch is flushed.
    old: Vec<BlobId>,
}

impl Drive {
    /// Makes the drive equal to `folder`. Links of the folder are stored as links, and only if they lead inside. The drive
    /// is written batch by batch.
    pub fn mirror_from(
        &self,
        folder: &LocalFolder,
        options: &MirrorOptions,
        watch: Watch<'_>,
    ) -> Result<Mirrored, MirrorError> {
        let mut import = Import {
            drive: self,
            before: self.now(),
            folder,
            options,
            course: Course::new(watch),
            batch: None,
            batch_files: 0,
            batch_bytes: 0,
            old: Vec::new(),
        };
        if options.surplus == Surplus::Delete {
            import.remove_surplus()?;
        }
        let done = import.take_all();
        // What was done before the mirror was stopped is kept: the next one goes on from there.
        import.flush()?;
        done.map(|()| import.course.done)
    }
}

impl Import<'_, '_> {
    fn remove_surplus(&mut self) -> Result<(), MirrorError> {
        for file in self.before.list(&self.options.folder) {
            // An entry that cannot be read is not touched.
            let Ok(file) = file else { continue };
            let gone = matches!(self.folder.look(&file.path)?, None | Some(Local::Folder));
            if !gone || self.options.ignore.covers(file.path.as_str()) {
                continue;
            }
            let removed = self.before.byte_length(&file)?;
            self.course.step(Op::Remove, file.path.as_str(), Bytes { added: 0, removed })?;
            self.old.extend(file.entry.blob);
            self.change(0, |batch| batch.del(&file.path).map(drop).map_err(MirrorError::from))?;
        }
        Ok(())
    }

    fn take_all(&mut self) -> Result<(), MirrorError> {
        let (folder, options) = (self.folder, self.options);
        for found in folder.walk(&options.folder, |path| !options.ignore.covers(path)) {
            let (path, local) = match found {
                Ok(Found::File(path, local)) => (path, local),
                Ok(Found::Part(_)) => continue,
                Ok(Found::Left(left)) => {
                    let path = left.folder.child(&left.name);
                    self.course.leave_out(&path, &LeftOut::Name { name: left.name })?;
                    continue;
                }
                Err(FolderError::Io { doing, path, source }) => {
                    let at = path.clone();
                    self.course.bear(&at, FolderError::Io { doing, path, source }.into())?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if let Err(error) = self.take(&path, &local) {
                self.course.bear(path.as_str(), error)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, path: &DrivePath, local: &Local) -> Result<(), MirrorError> {
        let old = match self.before.entry(path) {
            // An entry that cannot be read is replaced.
            Err(ReadError::Entry { .. }) => None,
            old => old?,
        };
        let same = match &old {
            Some(old) => self.compare(old, local)?,
            None => Same::No,
        };
        match local {
            _ if same == Same::Yes => self.course.step(Op::Equal, path.as_str(), Bytes::default()),
            Local::Link(Err(reason)) => self.course.leave_out(path.as_str(), &LeftOut::from(reason.clone())),
            Local::Link(Ok(target)) => {
                self.tell_change(path, old.as_ref(), 0)?;
                self.change(0, |batch| batch.symlink(path, target, None).map_err(MirrorError::from))
            }
            Local::File { executable, length } => match old {
                Some(old) if same == Same::ButRights => {
                    self.course.step(Op::Rights, path.as_str(), Bytes::default())?;
                    let entry = Entry { executable: *executable, ..old.entry };
                    self.change(0, |batch| batch.put_entry(path, &entry).map_err(MirrorError::from))
                }
                old => {
                    self.tell_change(path, old.as_ref(), *length)?;
                    self.store(path, *executable, *length)
                }
            },
            Local::Folder => Ok(()),
            Local::Other => self.course.leave_out(path.as_str(), &LeftOut::Special),
        }
    }

    /// A content that was freed or cannot be read counts as another one.
    fn compare(&self, old: &FileEntry, local: &Local) -> Result<Same, MirrorError> {
        match compare(&self.before, old, self.folder, local) {
            Err(MirrorError::Read(ReadError::Blob { .. })) => Ok(Same::No),
            same => same,
        }
    }

    fn tell_change(
        &mut self,
        path: &DrivePath,
        old: Option<&FileEntry>,
        added: u64,
    ) -> Result<(), MirrorError> {
        let removed = old.and_then(|file| file.entry.byte_length()).unwrap_or(0);
        self.old.extend(old.and_then(|file| file.entry.blob));
        let op = if old.is_some() { Op::Change } else { Op::Add };
        self.course.step(op, path.as_str(), Bytes { added, removed })
    }

    fn store(&mut self, path: &DrivePath, executable: bool, length: u64) -> Result<(), MirrorError> {
        if self.options.run == Run::Dry {
            return Ok(());
        }
        let about = About { executable, metadata: None };
        let mut file = self.folder.read(path)?;
        if length <= SMALL {
            let mut content = Vec::with_capacity(length as usize);
            // One byte more shows a file that grew since it was looked at.
            let read = (&mut file).take(SMALL + 1).read_to_end(&mut content);
            read.map_err(|source| FolderError::Io { doing: "read", path: path.to_string(), source })?;
            if content.len() as u64 <= SMALL {
                return self
                    .change(length, |batch| batch.put(path, content, about).map_err(MirrorError::from));
            }
        }
        let mut stopped = Ok(());
        let course = &mut self.course;
        let batch = self.batch.get_or_insert_with(|| self.drive.batch());
        let mut told = Told {
            file,
            done: 0,
            tell: |done: u64| {
                stopped = course.tell(Progress::Bytes { path: path.as_str(), done, total: length.max(done) });
                stopped.is_ok()
            },
        };
        let stored = batch.put_file(path, &mut told, about);
        stopped?;
        stored?;
        self.changed(length)
    }

    /// One change in the batch.
    fn change(
        &mut self,
        bytes: u64,
        change: impl FnOnce(&mut Batch) -> Result<(), MirrorError>,
    ) -> Result<(), MirrorError> {
        if self.options.run == Run::Dry {
            return Ok(());
        }
        change(self.batch.get_or_insert_with(|| self.drive.batch()))?;
        self.changed(bytes)
    }

    fn changed(&mut self, bytes: u64) -> Result<(), MirrorError> {
        self.batch_files += 1;
        self.batch_bytes += bytes;
        let full = self.batch_files >= FLUSH_FILES || self.batch_bytes >= FLUSH_BYTES;
        if full { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), MirrorError> {
        (self.batch_files, self.batch_bytes) = (0, 0);
        if let Some(batch) = self.batch.take() {
            batch.flush()?;
            let old = std::mem::take(&mut self.old);
            if self.options.old_contents == OldContents::Free {
                self.drive.free(&old, |_| false)?;
            }
        }
        Ok(())
    }
}

/// A file that tells how much of it was read, and ends with an error when it is told to.
struct Told<T> {
    file: File,
    done: u64,
    tell: T,
}

impl<T: FnMut(u64) -> bool> Read for Told<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buf)?;
        if count == 0 {
            return Ok(0);
        }
        self.done += count as u64;
        if (self.tell)(self.done) { Ok(count) } else { Err(io::Error::other("stopped")) }
    }
}

impl<T> Seek for Told<T> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.done = self.file.seek(to)?;
        Ok(self.done)
    }
}
