/// Takes fields off the front of some bytes; none where they end early or make no sense.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Input(bytes)
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that are left.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    /// Two bytes, lowest first.
    pub fn u16(&mut self) -> Option<u16> {
        self.fixed().map(u16::from_le_bytes)
    }

    /// Four bytes, lowest first.
    pub fn u32(&mut self) -> Option<u32> {
        self.fixed().map(u32::from_le_bytes)
    }

    /// Eight bytes, lowest first.
    pub fn u64(&mut self) -> Option<u64> {
        self.fixed().map(u64::from_le_bytes)
    }

    /// A number of up to 64 bits in groups of seven.
    pub fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let group = u64::from(byte & 0x7f);
            if group << shift >> shift != group {
                return None;
            }
            number |= group << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// A number of up to 32 bits in groups of seven.
    pub fn varint32(&mut self) -> Option<u32> {
        self.varint().and_then(|number| u32::try_from(number).ok())
    }

    /// Bytes with their length in front.
    pub fn buffer(&mut self) -> Option<&'a [u8]> {
        let length = self.varint32()?;
        self.bytes(length as usize)
    }

    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::push_varint;
    use super::*;

    #[test]
    fn numbers_come_back_and_those_too_large_do_not() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, number);
            assert_eq!(Input::new(&bytes).varint(), Some(number));
            assert_eq!(Input::new(&bytes).varint32().map(u64::from), Some(number).filter(|n| *n < 1 << 32));
            assert_eq!(Input::new(&bytes[1..]).varint().is_some(), bytes.len() > 1);
        }
        assert_eq!(Input::new(&[0xff; 10]).varint(), None);
        assert_eq!(Input::new(&[0xff; 5]).varint(), None);
    }

    #[test]
    fn a_buffer_that_ends_early_is_none() {
        assert_eq!(Input::new(&[3, 1, 2, 3]).buffer(), Some(&[1, 2, 3][..]));
        assert_eq!(Input::new(&[4, 1, 2, 3]).buffer(), None);
    }
}
