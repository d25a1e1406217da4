//! Looking for secrets in everything that a host holds.

use anyhow::{Context as _, Result};
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Whence, lseek};

const PIECE: usize = 4 << 20;

/// What must not be found.
pub struct Needles(Vec<Vec<u8>>);

impl Needles {
    /// Each must be long enough not to occur by chance.
    pub fn new(secrets: Vec<Vec<u8>>) -> Self {
        assert!(
            secrets.iter().all(|secret| secret.len() >= 16),
            "a needle of under 16 bytes occurs by chance"
        );
        Needles(secrets)
    }

    /// How often any of them occurs.
    pub fn count(&self, bytes: &[u8]) -> u64 {
        self.0.iter().map(|needle| occurrences(bytes, needle)).sum()
    }

    /// How often any of them occurs in a file. Holes of sparse files are passed over.
    pub fn count_in_file(&self, path: &Path) -> Result<u64> {
        let mut file = match File::open(path) {
            // What a running program removes meanwhile is not held any more.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            opened => opened.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let longest = self.0.iter().map(Vec::len).max().unwrap_or(1);
        let (mut found, mut at) = (0, 0);
        while let Ok(data) = lseek(file.as_fd(), at, Whence::SeekData) {
            let hole = lseek(file.as_fd(), data, Whence::SeekHole).unwrap_or(i64::MAX);
            found += self.count_between(&mut file, data as u64, hole as u64, longest)?;
            at = hole;
        }
        Ok(found)
    }

    fn count_between(&self, file: &mut File, from: u64, to: u64, longest: usize) -> Result<u64> {
        file.seek(SeekFrom::Start(from))?;
        let mut rest = file.take(to - from);
        let (mut found, mut piece) = (0, Vec::new());
        loop {
            // The end of each piece is looked at again with the next, so that nothing hides at the seam.
            let kept = piece.len().min(longest - 1);
            piece.drain(..piece.len() - kept);
            let counted = self.count(&piece);
            let size = rest.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
            if size == 0 {
                return Ok(found);
            }
            found += self.count(&piece) - counted;
        }
    }

    /// How often any of them occurs in all files below a folder, and in which.
    pub fn count_below(&self, folder: &Path) -> Result<(u64, Vec<PathBuf>)> {
        let (mut found, mut holders) = (0, Vec::new());
        for entry in
            fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?.flatten()
        {
            let kind = entry.file_type()?;
            if kind.is_dir() {
                let (more, in_these) = self.count_below(&entry.path())?;
                found += more;
                holders.extend(in_these);
            } else if kind.is_file() {
                let here = self.count_in_file(&entry.path())?;
                found += here;
                holders.extend((here > 0).then(|| entry.path()));
            }
        }
        Ok((found, holders))
    }
}

/// How often `needle` occurs. Its rarest byte would be quicker to look for; this is quick enough.
fn occurrences(bytes: &[u8], needle: &[u8]) -> u64 {
    let Some((first, rest)) = needle.split_first() else { return 0 };
    let mut found = 0;
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|byte| byte == first) {
        at += next + 1;
        found += u64::from(bytes[at..].starts_with(rest));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn finds_secrets_at_seams_behind_holes_and_in_folders() {
        let folder = std::env::temp_dir().join(format!("cloudpal-search-{}", std::process::id()));
        fs::create_dir_all(folder.join("deep")).unwrap();
        let secret = b"a secret of enough bytes".to_vec();
        let needles = Needles::new(vec![secret.clone(), vec![7; 64]]);
        let mut file = File::create(folder.join("deep/seam")).unwrap();
        file.write_all(&vec![1; PIECE - 10]).unwrap();
        file.write_all(&secret).unwrap();
        file.seek(SeekFrom::Start(64 << 20)).unwrap();
        file.write_all(&secret).unwrap();
        file.write_all(&[7; 64]).unwrap();
        fs::write(folder.join("clean"), [0; 1000]).unwrap();
        let (found, holders) = needles.count_below(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((found, holders.len()), (3, 1));
    }

    #[test]
    fn counts_every_occurrence_once() {
        assert_eq!(occurrences(b"aabaab", b"aab"), 2);
        assert_eq!(occurrences(b"", b"aab"), 0);
        assert_eq!(occurrences(b"aa", b"aab"), 0);
    }
}
