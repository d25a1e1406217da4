//! Numbers and byte strings within pages.

use bytes::Bytes;

/// LEB128: seven bits a byte, the lowest first.
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads the number at `at` and moves it past. None past the end, or of more than 64 bits.
#[inline]
pub fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let first = *bytes.get(*at)?;
    *at += 1;
    if first < 0x80 {
        return Some(u64::from(first));
    }
    let mut number = u64::from(first & 0x7f);
    for shift in (7..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            return None;
        }
        number |= part << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The little-endian number at `at`.
#[inline]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// What is left of a page.
pub struct Parser<'a> {
    page: &'a Bytes,
    at: usize,
}

impl<'a> Parser<'a> {
    pub fn new(page: &'a Bytes) -> Self {
        Parser { page, at: 0 }
    }

    pub fn byte(&mut self) -> Option<u8> {
        let byte = *self.page.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub fn varint(&mut self) -> Option<u64> {
        varint(self.page, &mut self.at)
    }

    /// A copy, so that it does not hold the page in memory.
    pub fn bytes(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.varint()?).ok()?;
        let end = self.at.checked_add(length)?;
        let bytes = Bytes::copy_from_slice(self.page.get(self.at..end)?);
        self.at = end;
        Some(bytes)
    }

    /// A number of things that take a byte each at least.
    pub fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.varint()?).ok()?;
        (count <= self.page.len() - self.at).then_some(count)
    }

    pub fn at_end(&self) -> bool {
        self.at == self.page.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_longer_ones_are_refused() {
        for number in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            let mut at = 0;
            assert_eq!(varint(&out, &mut at), Some(number));
            assert_eq!(at, out.len());
            assert_eq!(varint(&out[..out.len() - 1], &mut 0), None);
        }
        let mut long = [0xff; 10];
        long[9] = 2;
        assert_eq!(varint(&long, &mut 0), None, "65 bits");
        assert_eq!(varint(&[0x80; 11], &mut 0), None);
    }
}
