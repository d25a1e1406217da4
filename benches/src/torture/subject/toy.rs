//! Logs as one writes them in an afternoon, each with one flaw that a crash brings out.

use super::{Subject, Victim};
use anyhow::{Context as _, Result};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

pub struct Toy {
    flaw: Subject,
    blocks: File,
    length: File,
    /// Where each block ends.
    ends: Vec<u64>,
    /// Bytes that are not in the file of blocks yet, and from where on.
    held: Vec<u8>,
    held_from: u64,
}

/// What buffers writes when it holds this much.
const FULL: usize = 64 << 10;

impl Toy {
    pub fn open(folder: &Path, flaw: Subject) -> Result<Self> {
        let file = |name: &str| {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join(name))
        };
        let (blocks, length) = (file("blocks")?, file("length")?);
        let mut count = [0; 8];
        if length.metadata()?.len() >= 8 {
            length.read_exact_at(&mut count, 0)?;
        }
        let mut toy = Self { flaw, blocks, length, ends: Vec::new(), held: Vec::new(), held_from: 0 };
        for _ in 0..u64::from_le_bytes(count) {
            let mut size = [0; 4];
            let at = toy.end();
            toy.blocks.read_exact_at(&mut size, at).context("the file of blocks ends early")?;
            toy.ends.push(at + 4 + u64::from(u32::from_le_bytes(size)));
        }
        toy.held_from = toy.end();
        if flaw != Subject::ToyWithoutFolderSync {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(toy)
    }

    fn end(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn write(&mut self) -> Result<()> {
        if self.flaw == Subject::ToyLengthFirst {
            self.write_length()?;
            self.blocks.write_all_at(&self.held, self.held_from)?;
            self.sync(&self.length)?;
            self.sync(&self.blocks)?;
        } else {
            self.blocks.write_all_at(&self.held, self.held_from)?;
            self.sync(&self.blocks)?;
            self.write_length()?;
            self.sync(&self.length)?;
        }
        self.held.clear();
        self.held_from = self.end();
        Ok(())
    }

    fn write_length(&self) -> Result<()> {
        self.length.write_all_at(&(self.ends.len() as u64).to_le_bytes(), 0).or_else(|error| {
            match self.flaw {
                Subject::ToyDeafToErrors => Ok(()),
                _ => Err(error),
            }
        })?;
        Ok(())
    }

    fn sync(&self, file: &File) -> Result<()> {
        match self.flaw {
            Subject::ToyWithoutSync => Ok(()),
            Subject::ToyDeafToErrors => {
                let _ = file.sync_data();
                Ok(())
            }
            _ => Ok(file.sync_data()?),
        }
    }
}

impl Victim for Toy {
    fn append(&mut self, blocks: &[Vec<u8>]) -> Result<u64> {
        let (first, start) = (self.ends.len() as u64, self.end());
        let mut bytes = Vec::new();
        for block in blocks {
            bytes.extend((block.len() as u32).to_le_bytes());
            bytes.extend(block);
            self.ends.push(start + bytes.len() as u64);
        }
        self.held.extend(bytes);
        if self.flaw != Subject::ToyThatBuffers || self.held.len() > FULL {
            self.write()?;
        }
        Ok(first)
    }

    fn truncate(&mut self, length: u64) -> Result<()> {
        self.write()?;
        self.ends.truncate(length as usize);
        self.held_from = self.end();
        self.write_length()?;
        self.sync(&self.length)
    }

    fn length(&mut self) -> Result<u64> {
        Ok(self.ends.len() as u64)
    }

    fn get(&mut self, index: u64) -> Result<Vec<u8>> {
        let end = *self.ends.get(index as usize).context("no such block")?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before as usize]) + 4;
        if let Some(held) = start.checked_sub(self.held_from) {
            return Ok(self.held[held as usize..(end - self.held_from) as usize].to_vec());
        }
        let mut bytes = vec![0; (end - start) as usize];
        self.blocks.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }
}
