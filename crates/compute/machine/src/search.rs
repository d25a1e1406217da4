//! Looking for secrets in a snapshot as its host could: with its key.

use crate::engine::Engine;
use crate::helper::{self, Answer, HelperError};
use crate::host::memory;
use crate::restore::{RestoreError, open_job, open_snapshot};
use crate::spec::{Binding, MachineSpec};
use cloudpal_core::Secret;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

impl Engine {
    /// How often each of `needles` occurs in the decrypted memory and state of a snapshot. The plain
    /// text is only ever in memory without a name, gone when this returns.
    pub fn search(
        &self,
        spec: &MachineSpec,
        snapshot: &Path,
        key: &Secret<32>,
        binding: &Binding,
        needles: &[&[u8]],
    ) -> Result<Vec<u64>, RestoreError> {
        let plain_file =
            |name| memory::create(name, 0).map_err(|error| RestoreError::Open(error.to_string()));
        let (guest_memory, state) = (plain_file("searched-memory")?, plain_file("searched-state")?);
        let files = open_snapshot(snapshot)?;
        let digest = binding.digest(self.version(), &spec.shape());
        let mut job = open_job(snapshot, key, digest, &files, &guest_memory, &state)?;
        let answer = helper::start_on(&self.helper, &mut job, spec.run_as, Vec::new())?.finish()?;
        match answer {
            Answer::Done(_) => {}
            Answer::Refused(reason) => {
                return Err(RestoreError::Refused { folder: snapshot.to_owned(), reason });
            }
            Answer::Failed(reason) => return Err(RestoreError::Open(reason)),
            Answer::DiskFull | Answer::Kvm(_) => return Err(HelperError::NoAnswer.into()),
        }
        let counts =
            |file: &File| count_all(file, needles).map_err(|error| RestoreError::Open(error.to_string()));
        Ok(counts(&guest_memory)?
            .into_iter()
            .zip(counts(&state)?)
            .map(|(memory, state)| memory + state)
            .collect())
    }
}

/// Occurrences of each needle in a file, also across the pieces it is read in.
fn count_all(file: &File, needles: &[&[u8]]) -> std::io::Result<Vec<u64>> {
    const PIECE: usize = 1 << 20;
    let longest = needles.iter().map(|needle| needle.len()).max().unwrap_or(0);
    let length = file.metadata()?.len();
    let mut counts = vec![0; needles.len()];
    let mut buffer = vec![0; PIECE + longest];
    let mut at = 0;
    while at < length {
        let size = buffer.len().min((length - at) as usize);
        file.read_exact_at(&mut buffer[..size], at)?;
        for (count, needle) in counts.iter_mut().zip(needles) {
            // An occurrence counts in the piece it starts in.
            *count += count_starting_before(&buffer[..size], needle, PIECE);
        }
        at += PIECE as u64;
    }
    Ok(counts)
}

fn count_starting_before(bytes: &[u8], needle: &[u8], limit: usize) -> u64 {
    let Some(&first) = needle.first() else { return 0 };
    let starts = bytes.iter().take(limit).enumerate().filter(|&(_, &byte)| byte == first);
    starts.filter(|&(at, _)| bytes[at..].starts_with(needle)).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_across_pieces_once() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 << 20).unwrap();
        for offset in [0, (1 << 20) - 3, (1 << 20) + 50, (3 << 20) - 6] {
            file.write_all_at(b"needle", offset).unwrap();
        }
        assert_eq!(count_all(&file, &[b"needle", b"absent", b"need"]).unwrap(), [4, 0, 4]);
    }
}
