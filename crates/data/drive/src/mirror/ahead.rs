//! Asking peers for the contents that come next, so that many small ones do not take a journey each.

use crate::checkout::{Checkout, FileEntry};
use crate::error::ReadError;
use std::collections::VecDeque;

/// Files and bytes asked for before their turn.
const FILES: usize = 256;
const BYTES: u64 = 32 << 20;

/// Passes files on, a number of them later than they came.
pub(super) struct Ahead<'c, I> {
    drive: &'c Checkout,
    files: I,
    asked: VecDeque<Result<FileEntry, ReadError>>,
    bytes: u64,
}

impl<'c, I: Iterator<Item = Result<FileEntry, ReadError>>> Ahead<'c, I> {
    pub fn new(drive: &'c Checkout, files: I) -> Self {
        Self { drive, files, asked: VecDeque::new(), bytes: 0 }
    }

    fn ask(&self, file: &FileEntry) {
        let Some(blob) = &file.entry.blob else { return };
        // A content as a list would have to be read first; it is asked for when its turn comes.
        if let (Ok(blobs), false) = (self.drive.blobs(), blob.mapped || blob.blocks().is_empty()) {
            blobs.feed().prefetch(blob.blocks());
        }
    }
}

impl<I: Iterator<Item = Result<FileEntry, ReadError>>> Iterator for Ahead<'_, I> {
    type Item = Result<FileEntry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.asked.len() < FILES && (self.bytes < BYTES || self.asked.is_empty()) {
            let Some(file) = self.files.next() else { break };
            if let Ok(file) = &file {
                self.ask(file);
                self.bytes += length(file);
            }
            self.asked.push_back(file);
        }
        let file = self.asked.pop_front()?;
        self.bytes -= file.as_ref().map_or(0, length);
        Some(file)
    }
}

/// Bytes that the entry speaks of, within reason.
fn length(file: &FileEntry) -> u64 {
    file.entry.byte_length().unwrap_or_default().min(BYTES)
}
