//! Reading and writing npm `compact-encoding` 2: little-endian numbers of 1, 3, 5 or 9 bytes, and bytes
//! with their length in front.
//!
//! The reader is total: it answers any bytes with a value or a [`CodecError`], and never takes memory by
//! a length that it has not checked against what is there.

/// The largest number JS can hold exactly; `compact-encoding` refuses more.
pub const MAX_UINT: u64 = (1 << 53) - 1;

/// Bytes that do not say what they should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// They end too early.
    #[error("the bytes end in the middle of {0}")]
    Short(&'static str),
    /// A number past [`MAX_UINT`].
    #[error("a number is larger than 2^53 - 1")]
    Number,
    /// A value that is not allowed in this place.
    #[error("{0} has a value that is not known")]
    Value(&'static str),
    /// Text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// Bytes are left over.
    #[error("{0} bytes too many")]
    Long(usize),
}

/// Reads values off the front of a slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// What has not been read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Fails when something is left.
    pub const fn finish(self) -> Result<(), CodecError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CodecError::Long(self.rest.len())) }
    }

    /// The next `len` bytes.
    pub fn raw(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], CodecError> {
        let (head, tail) = self.rest.split_at_checked(len).ok_or(CodecError::Short(what))?;
        self.rest = tail;
        Ok(head)
    }

    /// All that is left.
    pub const fn all(&mut self) -> &'a [u8] {
        let all = self.rest;
        self.rest = &[];
        all
    }

    /// The next `N` bytes (`fixed32`, `fixed64`).
    pub fn fixed<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CodecError> {
        let (head, tail) = self.rest.split_first_chunk().ok_or(CodecError::Short(what))?;
        self.rest = tail;
        Ok(*head)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, CodecError> {
        Ok(self.fixed::<1>("a byte")?[0])
    }

    /// A number of two bytes (`uint16`).
    pub fn uint16(&mut self) -> Result<u16, CodecError> {
        Ok(u16::from_le_bytes(self.fixed("a number")?))
    }

    /// A number of four bytes (`uint32`).
    pub fn uint32(&mut self) -> Result<u32, CodecError> {
        Ok(u32::from_le_bytes(self.fixed("a number")?))
    }

    /// A number of eight bytes (`uint64`), at most [`MAX_UINT`].
    pub fn uint64(&mut self) -> Result<u64, CodecError> {
        let number = u64::from_le_bytes(self.fixed("a number")?);
        if number > MAX_UINT { Err(CodecError::Number) } else { Ok(number) }
    }

    /// A number of 1, 3, 5 or 9 bytes (`uint`), at most [`MAX_UINT`]. Longer forms than needed are taken, as JS does.
    #[inline]
    pub fn uint(&mut self) -> Result<u64, CodecError> {
        match self.byte()? {
            0xfd => self.uint16().map(u64::from),
            0xfe => self.uint32().map(u64::from),
            0xff => self.uint64(),
            small => Ok(u64::from(small)),
        }
    }

    /// Bytes with their length in front (`buffer`).
    pub fn buffer(&mut self, what: &'static str) -> Result<&'a [u8], CodecError> {
        let len = self.uint()?;
        self.raw(usize::try_from(len).map_err(|_| CodecError::Number)?, what)
    }

    /// Text with its length in front (`string`).
    pub fn string(&mut self, what: &'static str) -> Result<&'a str, CodecError> {
        std::str::from_utf8(self.buffer(what)?).map_err(|_| CodecError::Text)
    }

    /// The count in front of an array, each item of which takes at least `least` bytes (1 or more): a count that
    /// cannot be true is refused before anything is made for it.
    pub fn count(&mut self, least: usize, what: &'static str) -> Result<usize, CodecError> {
        let count = usize::try_from(self.uint()?).map_err(|_| CodecError::Number)?;
        if count > self.rest.len() / least.max(1) { Err(CodecError::Short(what)) } else { Ok(count) }
    }

    /// An array: a count, then that many items of at least `least` bytes each.
    pub fn array<T>(
        &mut self,
        least: usize,
        what: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        let count = self.count(least, what)?;
        (0..count).map(|_| item(self)).collect()
    }
}

/// Writes values to the end of a vector.
pub trait Write {
    /// Bytes as they are.
    fn raw(&mut self, bytes: &[u8]);

    /// A number of 1, 3, 5 or 9 bytes (`uint`).
    #[inline]
    fn uint(&mut self, number: u64) {
        match number {
            0..=0xfc => self.raw(&[number as u8]),
            0xfd..=0xffff => {
                let [a, b, ..] = number.to_le_bytes();
                self.raw(&[0xfd, a, b]);
            }
            0x1_0000..=0xffff_ffff => {
                let [a, b, c, d, ..] = number.to_le_bytes();
                self.raw(&[0xfe, a, b, c, d]);
            }
            _ => {
                self.raw(&[0xff]);
                self.raw(&number.to_le_bytes());
            }
        }
    }

    /// Bytes with their length in front (`buffer`).
    fn buffer(&mut self, bytes: &[u8]) {
        self.uint(bytes.len() as u64);
        self.raw(bytes);
    }

    /// Text with its length in front (`string`).
    fn string(&mut self, text: &str) {
        self.buffer(text.as_bytes());
    }

    /// A number of four bytes (`uint32`).
    fn uint32(&mut self, number: u32) {
        self.raw(&number.to_le_bytes());
    }

    /// A number of eight bytes (`uint64`).
    fn uint64(&mut self, number: u64) {
        self.raw(&number.to_le_bytes());
    }
}

impl Write for Vec<u8> {
    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Write for bytes::BytesMut {
    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// How many bytes [`Write::uint`] takes for `number`.
pub const fn uint_len(number: u64) -> usize {
    match number {
        0..=0xfc => 1,
        0xfd..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_in_the_length_told() {
        for number in [0, 1, 0xfc, 0xfd, 0xff, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, MAX_UINT] {
            let mut bytes = Vec::new();
            bytes.uint(number);
            assert_eq!(bytes.len(), uint_len(number), "{number}");
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.uint(), Ok(number));
            reader.finish().unwrap();
        }
    }

    #[test]
    fn what_js_refuses_is_refused() {
        let mut bytes = Vec::new();
        bytes.uint(MAX_UINT + 1);
        assert_eq!(Reader::new(&bytes).uint(), Err(CodecError::Number));
        assert_eq!(Reader::new(&[0xfd, 1]).uint(), Err(CodecError::Short("a number")));
        assert_eq!(Reader::new(&[5, 1]).buffer("it"), Err(CodecError::Short("it")));
        assert_eq!(Reader::new(&[2, 0xff, 0xff]).string("it"), Err(CodecError::Text));
        assert_eq!(Reader::new(&[1, 2]).finish(), Err(CodecError::Long(2)));
    }

    #[test]
    fn a_huge_count_takes_no_memory() {
        let mut bytes = Vec::new();
        bytes.uint(MAX_UINT);
        let items = Reader::new(&bytes).array(1, "items", |r| r.byte());
        assert_eq!(items, Err(CodecError::Short("items")));
    }
}
