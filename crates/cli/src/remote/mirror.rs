//! Mirrors between a drive of a pal and a folder of this machine: the list is read once, contents of equal length are compared by their digests, and only what is not
//! equal travels.

use super::Remote;
use super::drives::{self, Content, Depth, Mode};
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use cloudpal_drive::folder::{FolderError, Found, Local, LocalFolder, Permission};
use cloudpal_drive::mirror::{
    Bytes, Course, LeftOut, MirrorError, Mirrored, Op, Progress, Run, Surplus, Watch,
};
use cloudpal_drive::{DrivePath, Folder};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};

/// Bytes that are compared with one request.
const PART: u64 = 16 << 20;

/// Which side is to become equal to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The drive.
    Drive,
    /// The folder.
    Folder,
}

/// The drive as it was when its list was read, and the folder beside it.
pub struct Mirror<'a> {
    far: Far<'a>,
    files: BTreeMap<DrivePath, Entry>,
    folder: LocalFolder,
    target: Target,
    faulty: u64,
}

/// A file or link of the drive.
struct Entry {
    bytes: u64,
    executable: bool,
    link: Option<String>,
}

/// What is asked of the pal.
struct Far<'a> {
    pal: &'a Remote,
    drive: &'a str,
    /// The version that the list is of.
    listed: u64,
    /// What the drive is at now.
    version: u64,
    /// Digests that were told already, by path and first byte: a plan and its execution ask once.
    digests: HashMap<(DrivePath, u64), String>,
}

/// How a file of both sides differs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Same {
    Yes,
    ButRights,
    No,
}

/// Why a file was not mirrored.
enum Trouble {
    /// Its place in the folder; others may be well.
    Folder(FolderError),
    /// Anything else.
    Other(Failure),
}

impl From<FolderError> for Trouble {
    fn from(error: FolderError) -> Self {
        Trouble::Folder(error)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Other(failure)
    }
}

impl From<MirrorError> for Trouble {
    fn from(error: MirrorError) -> Self {
        Trouble::Other(failed(error))
    }
}

impl Trouble {
    /// Leaves out what one faulty file explains; anything else ends the mirror.
    fn bear(self, path: &DrivePath, course: &mut Course<'_>) -> Result<(), Failure> {
        match self {
            Trouble::Folder(error) if error.is_of_one_file() => {
                course.leave_out(path.as_str(), &error.into()).map_err(failed)
            }
            Trouble::Folder(error) => Err(failed(error)),
            Trouble::Other(failure) => Err(failure),
        }
    }
}

impl<'a> Mirror<'a> {
    /// Reads the list of the drive at this version, or now.
    pub fn new(
        pal: &'a Remote,
        drive: &'a str,
        version: Option<u64>,
        folder: LocalFolder,
        target: Target,
    ) -> Result<Self, Failure> {
        let list = drives::ls(pal, drive, "/", Depth::All, version)?.json;
        let mut files = BTreeMap::new();
        for entry in list["entries"].as_array().into_iter().flatten() {
            let path = DrivePath::new(entry["path"].as_str().unwrap_or_default()).map_err(failed)?;
            let bytes = entry["bytes"].as_u64().unwrap_or_default();
            let link = entry["link"].as_str().map(str::to_owned);
            files.insert(path, Entry { bytes, executable: entry["executable"] == true, link });
        }
        let listed = list["version"].as_u64().unwrap_or_default();
        let far = Far { pal, drive, listed, version: listed, digests: HashMap::new() };
        let faulty = list["faulty"].as_u64().unwrap_or_default();
        Ok(Mirror { far, files, folder, target, faulty })
    }

    /// Entries of the drive that cannot be read: they are neither taken nor deleted.
    pub fn faulty(&self) -> u64 {
        self.faulty
    }

    /// The drive's version.
    pub fn version(&self) -> u64 {
        self.far.version
    }

    /// Compares, and changes one side if it is a real run. What was compared before is not asked for again.
    pub fn run(&mut self, surplus: Surplus, run: Run, watch: Watch<'_>) -> Result<Mirrored, Failure> {
        let mut course = Course::new(watch);
        match self.target {
            Target::Drive => self.write_drive(surplus, run, &mut course)?,
            Target::Folder => self.write_folder(surplus, run, &mut course)?,
        }
        Ok(course.done())
    }

    fn write_drive(&mut self, surplus: Surplus, run: Run, course: &mut Course<'_>) -> Result<(), Failure> {
        let Mirror { far, files, folder, .. } = self;
        if surplus == Surplus::Delete {
            for (path, entry) in files.iter() {
                if matches!(folder.look(path).map_err(failed)?, None | Some(Local::Folder)) {
                    let moved = Bytes { added: 0, removed: entry.bytes };
                    course.step(Op::Remove, path.as_str(), moved).map_err(failed)?;
                    far.remove(path, run)?;
                }
            }
        }
        for found in folder.walk(&Folder::root(), |_| true) {
            match found.map_err(failed)? {
                Found::File(path, local) => {
                    let sent = send(far, files.get(&path), folder, &path, &local, run, course);
                    sent.or_else(|trouble| trouble.bear(&path, course))?;
                }
                Found::Left(left) => {
                    let path = left.folder.child(&left.name);
                    course.leave_out(&path, &LeftOut::Name { name: left.name }).map_err(failed)?;
                }
                Found::Part(_) => {}
            }
        }
        Ok(())
    }

    fn write_folder(&mut self, surplus: Surplus, run: Run, course: &mut Course<'_>) -> Result<(), Failure> {
        let Mirror { far, files, folder, .. } = self;
        if surplus == Surplus::Delete {
            for found in folder.walk(&Folder::root(), |_| true) {
                // What a drive cannot hold is no surplus of it.
                let Found::File(path, local) = found.map_err(failed)? else { continue };
                if matches!(local, Local::Other) || files.contains_key(&path) {
                    continue;
                }
                let moved = Bytes { added: 0, removed: length(&local) };
                course.step(Op::Remove, path.as_str(), moved).map_err(failed)?;
                if run == Run::Real {
                    folder.remove(&path).map_err(failed)?;
                }
            }
        }
        for (path, entry) in files.iter() {
            let taken = take(far, entry, folder, path, run, course);
            taken.or_else(|trouble| trouble.bear(path, course))?;
        }
        Ok(())
    }
}

/// One file or link of the folder.
fn send(
    far: &mut Far<'_>,
    entry: Option<&Entry>,
    folder: &LocalFolder,
    path: &DrivePath,
    local: &Local,
    run: Run,
    course: &mut Course<'_>,
) -> Result<(), Trouble> {
    let same = match entry {
        Some(entry) => far.compare(path, entry, folder, local)?,
        None => Same::No,
    };
    if same == Same::Yes {
        return Ok(course.step(Op::Equal, path.as_str(), Bytes::default())?);
    }
    match local {
        Local::Folder => return Ok(()),
        Local::Other => return Ok(course.leave_out(path.as_str(), &LeftOut::Special)?),
        Local::Link(Err(reason)) => {
            return Ok(course.leave_out(path.as_str(), &LeftOut::from(reason.clone()))?);
        }
        Local::File { .. } | Local::Link(Ok(_)) => {}
    }
    let moved = Bytes { added: length(local), removed: entry.map_or(0, |entry| entry.bytes) };
    course.step(if entry.is_some() { Op::Change } else { Op::Add }, path.as_str(), moved)?;
    match (run, local) {
        (Run::Real, Local::Link(Ok(target))) => Ok(far.link(path, target)?),
        (Run::Real, Local::File { executable, .. }) => {
            let source = Told { through: folder.read(path)?, path, done: 0, total: moved.added, course };
            Ok(far.put(path, source, *executable)?)
        }
        _ => Ok(()),
    }
}

/// One file or link of the drive.
fn take(
    far: &mut Far<'_>,
    entry: &Entry,
    folder: &LocalFolder,
    path: &DrivePath,
    run: Run,
    course: &mut Course<'_>,
) -> Result<(), Trouble> {
    // What cannot be written is told in a dry run too.
    folder.check_name(path)?;
    let local = folder.look(path)?;
    let same = match &local {
        Some(local) => far.compare(path, entry, folder, local)?,
        None => Same::No,
    };
    if same == Same::Yes {
        return Ok(course.step(Op::Equal, path.as_str(), Bytes::default())?);
    }
    if let Some(link) = &entry.link {
        folder.check_link(path, link)?;
    }
    let permission = Permission::of(entry.executable);
    if same == Same::ButRights {
        course.step(Op::Rights, path.as_str(), Bytes::default())?;
        return if run == Run::Real { Ok(folder.permit(path, permission)?) } else { Ok(()) };
    }
    let op = if local.is_some() { Op::Change } else { Op::Add };
    let moved = Bytes { added: entry.bytes, removed: local.as_ref().map_or(0, length) };
    course.step(op, path.as_str(), moved)?;
    match (run, &entry.link) {
        (Run::Dry, _) => Ok(()),
        (Run::Real, Some(link)) => Ok(folder.link(path, link)?),
        (Run::Real, None) => folder.write(path, permission, |file| {
            let sink = Told { through: file, path, done: 0, total: entry.bytes, course };
            Ok(far.get(path, sink)?)
        }),
    }
}

fn length(local: &Local) -> u64 {
    match local {
        Local::File { length, .. } => *length,
        _ => 0,
    }
}

impl Far<'_> {
    fn compare(
        &mut self,
        path: &DrivePath,
        entry: &Entry,
        folder: &LocalFolder,
        local: &Local,
    ) -> Result<Same, Trouble> {
        match (local, &entry.link) {
            (Local::Link(Ok(target)), Some(link)) if target == link => Ok(Same::Yes),
            (Local::File { executable, length }, None) if *length == entry.bytes => {
                let same = self.same_content(path, folder.read(path)?, *length)?;
                Ok(match (same, *executable == entry.executable) {
                    (true, true) => Same::Yes,
                    (true, false) => Same::ButRights,
                    (false, _) => Same::No,
                })
            }
            _ => Ok(Same::No),
        }
    }

    fn same_content(&mut self, path: &DrivePath, mut file: File, length: u64) -> Result<bool, Failure> {
        for from in (0..length).step_by(PART as usize) {
            let bytes = from..length.min(from + PART);
            let here = sha256(&mut file, bytes.end - from).map_err(|error| {
                Failure::because(Exit::Failed, format!("{path} of the folder cannot be read"), error)
            })?;
            let key = (path.clone(), from);
            if !self.digests.contains_key(&key) {
                let there = drives::digest(self.pal, self.drive, path.as_str(), bytes, self.listed)?;
                self.digests.insert(key.clone(), there);
            }
            if self.digests.get(&key) != Some(&here) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Its content stays for older versions.
    fn remove(&mut self, path: &DrivePath, run: Run) -> Result<(), Failure> {
        if run == Run::Real {
            let done = drives::rm(self.pal, self.drive, path.as_str(), Content::Keep)?;
            self.note(&done.json);
        }
        Ok(())
    }

    fn link(&mut self, path: &DrivePath, target: &str) -> Result<(), Failure> {
        let done = drives::link(self.pal, self.drive, path.as_str(), target)?;
        self.note(&done.json);
        Ok(())
    }

    fn put(
        &mut self,
        path: &DrivePath,
        mut source: Told<'_, '_, File>,
        executable: bool,
    ) -> Result<(), Failure> {
        let mode = if executable { Mode::Executable } else { Mode::Plain };
        let done = drives::put(self.pal, self.drive, path.as_str(), &mut source, mode)?;
        self.note(&done.json);
        Ok(())
    }

    fn get(&self, path: &DrivePath, mut sink: Told<'_, '_, &mut File>) -> Result<(), Failure> {
        drives::get(self.pal, self.drive, path.as_str(), None, Some(self.listed), &mut sink).map(drop)
    }

    fn note(&mut self, done: &serde_json::Value) {
        self.version = done["version"].as_u64().unwrap_or(self.version);
    }
}

fn sha256(file: &mut impl Read, bytes: u64) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut file.take(bytes), &mut hasher)?;
    Ok(hex::encode(hasher.finalize()))
}

/// A file that tells how much of it has passed.
struct Told<'c, 'w, F> {
    through: F,
    path: &'c DrivePath,
    done: u64,
    total: u64,
    course: &'c mut Course<'w>,
}

impl<F> Told<'_, '_, F> {
    fn passed(&mut self, count: usize) -> io::Result<usize> {
        self.done += count as u64;
        let Told { path, done, total, .. } = *self;
        self.course.tell(Progress::Bytes { path: path.as_str(), done, total }).map_err(io::Error::other)?;
        Ok(count)
    }
}

impl<F: Read> Read for Told<'_, '_, F> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.through.read(to)?;
        self.passed(count)
    }
}

impl<F: Write> Write for Told<'_, '_, F> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let count = self.through.write(from)?;
        self.passed(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.through.flush()
    }
}
