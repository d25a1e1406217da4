//! What one file holds: sparse pages that images share until one of them writes.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Pages as the kernel has them.
pub const PAGE: u64 = 4096;

type Page = [u8; PAGE as usize];

/// Bytes of a file. Pages of zeros take no memory.
#[derive(Clone, Default)]
pub struct Content {
    length: u64,
    pages: BTreeMap<u64, Arc<Page>>,
}

impl Content {
    /// Bytes from the start to the end of the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Cuts, or grows with zeros.
    pub fn set_length(&mut self, length: u64) {
        if length < self.length {
            let keep = length.div_ceil(PAGE);
            self.pages.split_off(&keep);
            let rest = (length % PAGE) as usize;
            if rest > 0
                && let Some(page) = self.pages.get_mut(&(length / PAGE))
            {
                Arc::make_mut(page)[rest..].fill(0);
            }
        }
        self.length = length;
    }

    /// Writes, growing the file as needed.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        self.length = self.length.max(offset + data.len() as u64);
        let (mut at, mut left) = (offset, data);
        while !left.is_empty() {
            let within = (at % PAGE) as usize;
            let (now, later) = left.split_at(left.len().min(PAGE as usize - within));
            // Zeros where nothing was written change nothing, and images of them would be most of the work.
            if self.pages.contains_key(&(at / PAGE)) || now.iter().any(|byte| *byte != 0) {
                let page = self.pages.entry(at / PAGE).or_insert_with(|| Arc::new([0; PAGE as usize]));
                Arc::make_mut(page)[within..within + now.len()].copy_from_slice(now);
            }
            at += now.len() as u64;
            left = later;
        }
    }

    /// Reads up to `size` bytes.
    pub fn read(&self, offset: u64, size: usize) -> Vec<u8> {
        let end = self.length.min(offset.saturating_add(size as u64));
        let mut out = vec![0; end.saturating_sub(offset) as usize];
        let mut done = 0;
        while done < out.len() {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let now = (out.len() - done).min(PAGE as usize - within);
            if let Some(page) = self.pages.get(&(at / PAGE)) {
                out[done..done + now].copy_from_slice(&page[within..within + now]);
            }
            done += now;
        }
        out
    }

    /// Pages that hold something, with their offsets, cut at the end of the file.
    pub fn written(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.pages.iter().map(|(number, page)| {
            let start = number * PAGE;
            (start, &page[..(self.length - start).min(PAGE) as usize])
        })
    }

    /// The same as few pieces: pages that lie side by side are one.
    pub fn pieces(&self) -> Vec<(u64, Vec<u8>)> {
        let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
        for (offset, bytes) in self.written() {
            match pieces.last_mut().filter(|(start, piece)| start + piece.len() as u64 == offset) {
                Some((_, piece)) => piece.extend_from_slice(bytes),
                None => pieces.push((offset, bytes.to_vec())),
            }
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::Content;
    use crate::chance::Chance;

    #[test]
    fn it_reads_like_a_vector_of_bytes() {
        let mut chance = Chance::new(1);
        let (mut content, mut model) = (Content::default(), Vec::new());
        for _ in 0..2000 {
            let at = chance.below(20_000);
            if chance.once_in(8) {
                content.set_length(at);
                model.resize(at as usize, 0);
            } else {
                let length = chance.below(6000) as usize;
                let data = chance.bytes(length);
                model.resize(model.len().max(at as usize + length), 0);
                model[at as usize..at as usize + length].copy_from_slice(&data);
                content.write(at, &data);
            }
            assert_eq!(content.length(), model.len() as u64);
            let from = chance.below(20_000).min(model.len() as u64) as usize;
            let to = (from + chance.below(9000) as usize).min(model.len());
            assert!(content.read(from as u64, to - from) == model[from..to], "seed 1");
        }
        let mut again = vec![0; model.len()];
        for (offset, piece) in content.pieces() {
            again[offset as usize..offset as usize + piece.len()].copy_from_slice(&piece);
        }
        assert!(again == model);
    }
}
