//! Small files on the unlocked data disk. Each is written beside its place, flushed, and then put there,
//! so it is old or new and never half.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

/// No file is larger, in bytes.
pub const MAX_FILE: usize = 16 << 20;
/// No name is longer, in bytes.
const MAX_NAME: usize = 128;
/// While being written.
const PART: &str = ".part";
/// Each file being written has a number of its own.
static PARTS: AtomicU64 = AtomicU64::new(0);

/// A name that can be neither a path nor hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName(String);

impl FileName {
    /// Takes one path segment, already decoded.
    pub fn parse(name: &str) -> Option<Self> {
        let fits = (1..=MAX_NAME).contains(&name.len())
            && !name.starts_with('.')
            && !name.ends_with(PART)
            && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'));
        fits.then(|| FileName(name.to_owned()))
    }
}

/// One entry of the list.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last written, seconds since 1970.
    pub modified_unix_s: u64,
}

/// A folder of files.
#[derive(Clone, Debug)]
pub struct Files(PathBuf);

impl Files {
    /// In this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Files(folder.into())
    }

    fn path(&self, name: &FileName) -> PathBuf {
        self.0.join(&name.0)
    }

    /// Opens a file to be read.
    pub fn open(&self, name: &FileName) -> io::Result<File> {
        let file = File::open(self.path(name))?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Begins to write a file. Until [`Part::place`] nothing of it can be seen.
    pub fn begin(&self, name: &FileName) -> io::Result<Part> {
        let number = PARTS.fetch_add(1, Ordering::Relaxed);
        let path = self.0.join(format!("{number}{PART}"));
        let file = File::create(&path)?;
        Ok(Part { file, path, target: self.path(name), size: 0 })
    }

    /// Removes what was being written when an earlier process ended.
    pub fn tidy(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)?.flatten() {
            if entry.file_name().to_string_lossy().ends_with(PART) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes a file.
    pub fn delete(&self, name: &FileName) -> io::Result<()> {
        fs::remove_file(self.path(name))?;
        sync_folder(&self.0)
    }

    /// All files, by name.
    pub fn list(&self) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let (entry, name) = entry.map(|entry| (entry.metadata(), entry.file_name()))?;
            let (Ok(about), Some(name)) = (entry, name.to_str().and_then(FileName::parse)) else { continue };
            let modified = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let modified_unix_s = modified.map_or(0, |since| since.as_secs());
            found.push(Entry { name: name.0, bytes: about.len(), modified_unix_s });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}

/// A file that is being written. Dropped without [`Part::place`], it leaves nothing behind.
pub struct Part {
    file: File,
    path: PathBuf,
    target: PathBuf,
    size: usize,
}

impl Part {
    /// Adds bytes. More than [`MAX_FILE`] in all are refused.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.size += bytes.len();
        if self.size > MAX_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.file.write_all(bytes)
    }

    /// Puts the file in its place, over an older one. When this returns it is on the disk.
    pub fn place(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.target)?;
        self.target.parent().map_or(Ok(()), sync_folder)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Already in its place: nothing there.
        let _ = fs::remove_file(&self.path);
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_visible_segment() {
        for good in ["a", "my notes.txt", "übersicht.md", "a..b", &"x".repeat(128)] {
            assert!(FileName::parse(good).is_some(), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "a\\b", "a\0b", "a\nb", "x.part", &"x".repeat(129)] {
            assert!(FileName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn no_random_name_leaves_the_folder() {
        let mut state = 0x51ed_270b_76ab_9f33u64;
        println!("seed {state:#x}");
        let alphabet: Vec<char> = "./\\a\0:%2eF\u{202e}\n~ ".chars().collect();
        let mut accepted = 0;
        for _ in 0..50_000 {
            let mut name = String::new();
            for _ in 0..state % 7 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                name.push(alphabet[(state >> 20) as usize % alphabet.len()]);
            }
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            if let Some(name) = FileName::parse(&name) {
                accepted += 1;
                let path = Files::new("/f").path(&name);
                assert_eq!(path.parent(), Some(Path::new("/f")), "{name:?}");
                assert_eq!(path.components().count(), 3, "{name:?}");
            }
        }
        assert!(accepted > 1000, "some names are good: {accepted}");
    }

    fn put(files: &Files, name: &FileName, bytes: &[u8]) -> io::Result<()> {
        let mut part = files.begin(name)?;
        bytes.chunks(2).try_for_each(|some| part.write(some))?;
        part.place()
    }

    fn text(files: &Files, name: &FileName) -> String {
        io::read_to_string(files.open(name).unwrap()).unwrap()
    }

    #[test]
    fn keeps_what_was_put_until_it_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let (files, name) = (Files::new(folder.path()), FileName::parse("note").unwrap());
        assert_eq!(files.open(&name).unwrap_err().kind(), io::ErrorKind::NotFound);
        put(&files, &name, b"one").unwrap();
        put(&files, &name, b"two").unwrap();
        assert_eq!(text(&files, &name), "two");
        let list = files.list().unwrap();
        let seen: Vec<_> = list.iter().map(|entry| (entry.name.as_str(), entry.bytes)).collect();
        assert_eq!(seen, [("note", 3)]);
        files.delete(&name).unwrap();
        assert!(files.list().unwrap().is_empty());
    }

    #[test]
    fn what_is_not_finished_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (files, name) = (Files::new(folder.path()), FileName::parse("note").unwrap());
        put(&files, &name, b"old").unwrap();
        let mut part = files.begin(&name).unwrap();
        part.write(b"new").unwrap();
        assert_eq!((text(&files, &name), files.list().unwrap().len()), ("old".to_owned(), 1));
        drop(part);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // A process that is killed cannot tidy up; the next one does.
        std::mem::forget(files.begin(&name).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        files.tidy().unwrap();
        assert_eq!(
            (text(&files, &name), fs::read_dir(folder.path()).unwrap().count()),
            ("old".to_owned(), 1)
        );
    }

    #[test]
    fn a_file_has_a_greatest_size() {
        let folder = tempfile::tempdir().unwrap();
        let (files, name) = (Files::new(folder.path()), FileName::parse("big").unwrap());
        let mut part = files.begin(&name).unwrap();
        part.write(&vec![1; MAX_FILE]).unwrap();
        assert_eq!(part.write(&[1]).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
