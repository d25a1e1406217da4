use super::header::{CHUNK_PAGES, Header, HeaderError, PAGE, PartKey, Salt, TAG};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What sealing a part came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Sealed {
    /// Bytes of plaintext.
    pub length: u64,
    /// Bytes in pages that are not all zeros.
    pub present_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
}

/// A part that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk.
    #[error("could not read it or write its plaintext")]
    Io(#[from] io::Error),
    /// The head.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Cut short, or something was added.
    #[error("it has {found} bytes where its head tells of {expected}")]
    Length {
        /// Bytes there are.
        found: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// A chunk fails its tag.
    #[error("chunk {0} was changed or moved")]
    Chunk(u64),
}

/// Seals the first `length` bytes of `plain` into the empty file `sealed`, on `threads` threads.
/// The head goes last, so that what a crash leaves behind opens as nothing.
pub fn seal(key: &PartKey, plain: &File, length: u64, sealed: &File, threads: usize) -> io::Result<Sealed> {
    let bitmap = present_pages(plain, length, threads)?;
    let header = Header { length, bitmap };
    let pages = header.pages();
    let start = Header::size(length);
    for_each_chunk(&pages, threads, |number, pages, chunk| {
        chunk.resize(pages.len() * PAGE, 0);
        let mut at = 0;
        for (page, count) in runs(pages) {
            let end = at + count * PAGE;
            read_padded(plain, &mut chunk[at..end], page * PAGE as u64, length)?;
            at = end;
        }
        key.seal_chunk(number, chunk);
        sealed.write_all_at(chunk, chunk_offset(start, number))
    })?;
    sealed.write_all_at(&header.encode(key), 0)?;
    Ok(Sealed {
        length,
        present_bytes: (pages.len() * PAGE) as u64,
        file_bytes: file_size(start, pages.len() as u64),
    })
}

/// Opens `sealed` into `plain`, which must read as zeros where nothing was written, on `threads`
/// threads. After an error `plain` holds rubbish: throw it away.
pub fn open(key: &PartKey, sealed: &File, plain: &File, threads: usize) -> Result<Sealed, OpenError> {
    let header = read_header(key, sealed)?;
    let pages = header.pages();
    let start = Header::size(header.length);
    let expected = file_size(start, pages.len() as u64);
    let found = sealed.metadata()?.len();
    if found != expected {
        return Err(OpenError::Length { found, expected });
    }
    if plain.metadata()?.len() < header.length {
        plain.set_len(header.length)?;
    }
    for_each_chunk(&pages, threads, |number, pages, chunk| {
        chunk.resize(pages.len() * PAGE + TAG, 0);
        sealed.read_exact_at(chunk, chunk_offset(start, number))?;
        let chunk = key.open_chunk(number, chunk).ok_or(OpenError::Chunk(number))?;
        let mut at = 0;
        for (page, count) in runs(pages) {
            let offset = page * PAGE as u64;
            let size = (count * PAGE).min((header.length - offset) as usize);
            plain.write_all_at(&chunk[at..at + size], offset)?;
            at += count * PAGE;
        }
        Ok::<(), OpenError>(())
    })?;
    Ok(Sealed { length: header.length, present_bytes: (pages.len() * PAGE) as u64, file_bytes: found })
}

/// The salt in the head of `sealed`, not yet authenticated; `None` when that is no head.
pub fn peek_salt(sealed: &File) -> io::Result<Option<Salt>> {
    let mut fixed = [0; Header::PEEK];
    match sealed.read_exact_at(&mut fixed, 0) {
        Ok(()) => Ok(Header::peek_salt(&fixed)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_header(key: &PartKey, sealed: &File) -> Result<Header, OpenError> {
    let found = sealed.metadata()?.len();
    let mut fixed = [0; Header::PEEK];
    if found < fixed.len() as u64 {
        return Err(HeaderError::Form.into());
    }
    sealed.read_exact_at(&mut fixed, 0)?;
    let size = Header::peek_size(&fixed).ok_or(HeaderError::Form)?;
    if found < size {
        return Err(HeaderError::Form.into());
    }
    let mut bytes = vec![0; size as usize];
    sealed.read_exact_at(&mut bytes, 0)?;
    Ok(Header::decode(&bytes, key)?)
}

const fn chunk_offset(start: u64, number: u64) -> u64 {
    start + number * (CHUNK_PAGES * PAGE + TAG) as u64
}

const fn file_size(start: u64, pages: u64) -> u64 {
    start + pages * PAGE as u64 + pages.div_ceil(CHUNK_PAGES as u64) * TAG as u64
}

/// Calls `work(number, pages, buffer)` for every chunk, on `threads` threads; the first error wins. Each
/// thread keeps its buffer: fresh ones would cost as many page faults as the guest's memory itself.
fn for_each_chunk<E: Send>(
    pages: &[u64],
    threads: usize,
    work: impl Fn(u64, &[u64], &mut Vec<u8>) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let chunks: Vec<&[u64]> = pages.chunks(CHUNK_PAGES).collect();
    let next = AtomicU64::new(0);
    let run = || {
        let mut buffer = Vec::with_capacity(CHUNK_PAGES * PAGE + TAG);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(pages) = chunks.get(number as usize) else { return Ok(()) };
            if let Err(error) = work(number, pages, &mut buffer) {
                next.store(chunks.len() as u64, Ordering::Relaxed);
                return Err(error);
            }
        }
    };
    on_threads(threads, run).into_iter().collect()
}

fn on_threads<T: Send>(threads: usize, run: impl Fn() -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(&run)).collect();
        let mut results = vec![run()];
        for other in others {
            match other.join() {
                Ok(result) => results.push(result),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}

/// One bit for every page that is not all zeros. Holes of a sparse file are not even read.
fn present_pages(plain: &File, length: u64, threads: usize) -> io::Result<Vec<u8>> {
    // A stretch is a whole number of bitmap bytes.
    const STRETCH: u64 = 256 * PAGE as u64;
    let stretches = length.div_ceil(STRETCH);
    let next = AtomicU64::new(0);
    let found = on_threads(threads, || {
        let mut mine = Vec::new();
        let mut buffer = vec![0; STRETCH as usize];
        loop {
            let stretch = next.fetch_add(1, Ordering::Relaxed);
            if stretch >= stretches {
                return Ok(mine);
            }
            let offset = stretch * STRETCH;
            if is_hole(plain, offset, STRETCH.min(length - offset)) {
                continue;
            }
            read_padded(plain, &mut buffer, offset, length)?;
            let bits = buffer.chunks_exact(8 * PAGE).map(|pages| {
                pages
                    .chunks_exact(PAGE)
                    .enumerate()
                    .fold(0u8, |bits, (bit, page)| bits | (u8::from(!is_zero(page)) << bit))
            });
            mine.push((stretch, bits.collect::<Vec<u8>>()));
        }
    });
    let mut bitmap = vec![0; length.div_ceil(PAGE as u64).div_ceil(8) as usize];
    for mine in found {
        let mine: Vec<(u64, Vec<u8>)> = mine.map_err(|error: io::Error| error)?;
        for (stretch, bits) in mine {
            let at = stretch as usize * 32;
            let end = (at + bits.len()).min(bitmap.len());
            bitmap[at..end].copy_from_slice(&bits[..end - at]);
        }
    }
    Ok(bitmap)
}

fn is_hole(file: &File, offset: u64, size: u64) -> bool {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset)) {
        Ok(data) => data >= offset + size,
        Err(rustix::io::Errno::NXIO) => true,
        // A file system that cannot tell: read it.
        Err(_) => false,
    }
}

fn is_zero(page: &[u8]) -> bool {
    // Equality of slices is the C library's memcmp, fast in every build.
    const ZEROS: [u8; PAGE] = [0; PAGE];
    page == &ZEROS[..page.len()]
}

/// Fills `buffer` from `offset`; past `length` with zeros.
fn read_padded(file: &File, buffer: &mut [u8], offset: u64, length: u64) -> io::Result<()> {
    let size = buffer.len().min(length.saturating_sub(offset) as usize);
    let (inside, past) = buffer.split_at_mut(size);
    past.fill(0);
    file.read_exact_at(inside, offset)
}

/// Neighbouring pages joined: first page and count.
fn runs(pages: &[u64]) -> impl Iterator<Item = (u64, usize)> + '_ {
    pages.chunk_by(|a, b| a + 1 == *b).filter_map(|run| Some((*run.first()?, run.len())))
}

#[cfg(test)]
mod tests {
    use super::super::Part;
    use super::*;
    use std::io::Read;

    /// Numbers from a seed (SplitMix64).
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }

        fn below(&mut self, limit: u64) -> u64 {
            self.next() % limit
        }
    }

    fn key() -> PartKey {
        PartKey::from_derived(&[1; 32], Salt([2; 32]), Part::Memory, [3; 32])
    }

    /// A sparse file where about a third of the pages hold something.
    fn memory(random: &mut Random, length: u64) -> (File, Vec<u8>) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(length).unwrap();
        let mut content = vec![0; length as usize];
        for page in content.chunks_mut(PAGE) {
            if random.below(3) == 0 {
                let at = random.below(page.len() as u64) as usize;
                page[at] = random.below(255) as u8 + 1;
            }
        }
        for (index, page) in content.chunks(PAGE).enumerate() {
            if page.iter().any(|&byte| byte != 0) {
                file.write_all_at(page, (index * PAGE) as u64).unwrap();
            }
        }
        (file, content)
    }

    fn content(file: &File, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn opened(sealed: &[u8], length: u64, threads: usize) -> Result<Vec<u8>, OpenError> {
        let (file, plain) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        file.write_all_at(sealed, 0).unwrap();
        open(&key(), &file, &plain, threads)?;
        assert_eq!(plain.metadata().unwrap().len(), length);
        Ok(content(&plain, length))
    }

    fn sealed(plain: &File, length: u64, threads: usize) -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        let report = seal(&key(), plain, length, &file, threads).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, report.file_bytes);
        bytes
    }

    #[test]
    fn gives_back_what_was_sealed_whatever_the_length_and_threads() {
        let mut random = Random(11);
        for length in [0, 1, 4095, 4096, 4097, 72 * 1024 + 3, 1 << 20, (5 << 20) + 17] {
            let (plain, expected) = memory(&mut random, length);
            let one = sealed(&plain, length, 1);
            assert_eq!(one, sealed(&plain, length, 3), "threads change the file at length {length}");
            assert_eq!(opened(&one, length, 2).unwrap(), expected, "length {length}");
        }
    }

    #[test]
    fn zeros_cost_nothing_and_come_back() {
        let plain = tempfile::tempfile().unwrap();
        plain.set_len(64 << 20).unwrap();
        let bytes = sealed(&plain, 64 << 20, 2);
        assert!(bytes.len() < 3000);
        assert!(opened(&bytes, 64 << 20, 2).unwrap().iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_marker_never_shows() {
        let marker = b"a marker that must not be found at rest";
        let plain = tempfile::tempfile().unwrap();
        plain.set_len(1 << 20).unwrap();
        plain.write_all_at(marker, 300_000).unwrap();
        let bytes = sealed(&plain, 1 << 20, 1);
        let hits = |bytes: &[u8]| bytes.windows(marker.len()).filter(|window| window == marker).count();
        assert_eq!(hits(&bytes), 0);
        assert_eq!(hits(&opened(&bytes, 1 << 20, 1).unwrap()), 1);
    }

    #[test]
    fn any_changed_byte_cut_addition_or_swap_is_refused() {
        let seed = 0xC10D;
        println!("seed {seed:#x}");
        let mut random = Random(seed);
        let length = 3 << 20;
        let (plain, _) = memory(&mut random, length);
        let bytes = sealed(&plain, length, 2);
        for _ in 0..300 {
            let at = random.below(bytes.len() as u64) as usize;
            let mut changed = bytes.clone();
            changed[at] ^= 1 << random.below(8);
            assert!(opened(&changed, length, 2).is_err(), "byte {at}");
            assert!(opened(&bytes[..at], length, 2).is_err(), "cut at {at}");
        }
        assert!(opened(&[&bytes[..], b"x"].concat(), length, 2).is_err());
        let start = Header::size(length) as usize;
        let chunk = CHUNK_PAGES * PAGE + TAG;
        let mut swapped = bytes.clone();
        swapped[start..start + chunk].copy_from_slice(&bytes[start + chunk..start + 2 * chunk]);
        swapped[start + chunk..start + 2 * chunk].copy_from_slice(&bytes[start..start + chunk]);
        assert!(matches!(opened(&swapped, length, 1), Err(OpenError::Chunk(_))));
        assert!(opened(&bytes, length, 1).is_ok(), "the unchanged file opens");
    }
}
