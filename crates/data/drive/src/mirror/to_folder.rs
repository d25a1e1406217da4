//! From a drive to a folder.

use super::ahead::Ahead;
use super::compare::{Same, compare};
use super::{Bytes, Course, MirrorError, MirrorOptions, Mirrored, Op, Progress, Run, Surplus, Watch};
use crate::checkout::{Checkout, FileEntry};
use crate::error::ReadError;
use crate::folder::{FolderError, Found, Local, LocalFolder, Permission};
use std::io::Write;

impl Checkout {
    /// Makes `folder` equal to this version. Nothing outside the folder is written, whatever the drive says.
    pub fn mirror_to(
        &self,
        folder: &LocalFolder,
        options: &MirrorOptions,
        watch: Watch<'_>,
    ) -> Result<Mirrored, MirrorError> {
        let mut course = Course::new(watch);
        if options.surplus == Surplus::Delete {
            remove_surplus(self, folder, options, &mut course)?;
        }
        let ignored = |file: &Result<FileEntry, ReadError>| match file {
            Ok(file) => options.ignore.covers(file.path.as_str()),
            Err(_) => false,
        };
        for file in Ahead::new(self, self.list(&options.folder).filter(|file| !ignored(file))) {
            let file = match file {
                Ok(file) => file,
                Err(error) => {
                    let name = faulty(&error);
                    course.bear(&name, error.into())?;
                    continue;
                }
            };
            if let Err(error) = take(self, &file, folder, options, &mut course) {
                course.bear(file.path.as_str(), error)?;
            }
        }
        Ok(course.done)
    }
}

fn remove_surplus(
    drive: &Checkout,
    folder: &LocalFolder,
    options: &MirrorOptions,
    course: &mut Course<'_>,
) -> Result<(), MirrorError> {
    for found in folder.walk(&options.folder, |path| !options.ignore.covers(path)) {
        let (path, local) = match found? {
            Found::File(path, local) => (path, local),
            Found::Part(path) if options.run == Run::Real => {
                folder.remove(&path)?;
                continue;
            }
            // What a drive cannot hold is no surplus of it.
            Found::Part(_) | Found::Left(_) => continue,
        };
        if matches!(local, Local::Other) || drive.exists(&path)? {
            continue;
        }
        let removed = length(&local);
        course.step(Op::Remove, path.as_str(), Bytes { added: 0, removed })?;
        if options.run == Run::Real {
            folder.remove(&path)?;
        }
    }
    Ok(())
}

fn take(
    drive: &Checkout,
    file: &FileEntry,
    folder: &LocalFolder,
    options: &MirrorOptions,
    course: &mut Course<'_>,
) -> Result<(), MirrorError> {
    let path = file.path.as_str();
    // What cannot be written is told in a dry run too.
    folder.check_name(&file.path)?;
    let local = folder.look(&file.path)?;
    let same = match &local {
        Some(local) => compare(drive, file, folder, local)?,
        None => Same::No,
    };
    if same == Same::Yes {
        return course.step(Op::Equal, path, Bytes::default());
    }
    if let Some(linkname) = &file.entry.linkname {
        folder.check_link(&file.path, linkname)?;
    }
    if same == Same::ButRights {
        course.step(Op::Rights, path, Bytes::default())?;
    } else {
        let op = if local.is_some() { Op::Change } else { Op::Add };
        let removed = local.as_ref().map_or(0, length);
        course.step(op, path, Bytes { added: drive.byte_length(file)?, removed })?;
    }
    match (options.run, &file.entry.linkname, same) {
        (Run::Dry, ..) => Ok(()),
        (Run::Real, Some(linkname), _) => Ok(folder.link(&file.path, linkname)?),
        (Run::Real, None, Same::ButRights) => {
            Ok(folder.permit(&file.path, Permission::of(file.entry.executable))?)
        }
        (Run::Real, None, _) => write(drive, file, folder, course),
    }
}

fn write(
    drive: &Checkout,
    file: &FileEntry,
    folder: &LocalFolder,
    course: &mut Course<'_>,
) -> Result<(), MirrorError> {
    let mut content = drive.read(file, 0..u64::MAX)?;
    let (total, mut done) = (content.remaining(), 0);
    let failed = |source| FolderError::Io { doing: "write", path: file.path.to_string(), source };
    folder.write(&file.path, Permission::of(file.entry.executable), |target| {
        while let Some(block) = content.next_block().map_err(file.blob_error())? {
            target.write_all(&block).map_err(failed)?;
            done += block.len() as u64;
            course.tell(Progress::Bytes { path: file.path.as_str(), done, total })?;
        }
        Ok::<(), MirrorError>(())
    })
}

fn length(local: &Local) -> u64 {
    match local {
        Local::File { length, .. } => *length,
        _ => 0,
    }
}

/// What an entry that cannot be read is called.
fn faulty(error: &ReadError) -> String {
    match error {
        ReadError::Entry { path, .. } => path.clone(),
        ReadError::Key(crate::path::PathError::Key { name }) => name.clone(),
        _ => String::new(),
    }
}
