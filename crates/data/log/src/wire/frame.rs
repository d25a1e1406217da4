use bytes::{Buf, BytesMut};

/// The most bytes a frame can hold: its length has 24 bits.
pub const MAX_FRAME: usize = 0x00ff_ffff;

/// Cuts what a stream delivers into frames: three bytes of length (little-endian), then that many bytes.
///
/// It never waits for more than one frame and keeps no more than was pushed.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: BytesMut,
}

/// A frame that nobody should have sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer sent a frame of {length} bytes where at most {limit} are allowed")]
pub struct FrameError {
    /// What its head says.
    pub length: usize,
    /// What the caller allows.
    pub limit: usize,
}

impl Frames {
    /// Nothing read yet.
    pub fn new() -> Self {
        Frames::default()
    }

    /// Where the next bytes of the stream go: append them here.
    pub const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole frame without its head; none until more bytes come. Empty frames are passed over, as
    /// they carry nothing.
    pub fn next(&mut self, limit: usize) -> Result<Option<BytesMut>, FrameError> {
        loop {
            let Some([a, b, c]) = self.buffer.first_chunk() else { return Ok(None) };
            let length = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
            if length > limit {
                return Err(FrameError { length, limit });
            }
            if self.buffer.len() < 3 + length {
                return Ok(None);
            }
            self.buffer.advance(3);
            if length > 0 {
                return Ok(Some(self.buffer.split_to(length)));
            }
        }
    }

    /// How many more bytes complete the next frame: what a reader should have room for.
    pub fn missing(&self) -> usize {
        let Some([a, b, c]) = self.buffer.first_chunk() else { return 3 - self.buffer.len() };
        let length = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
        (3 + length).saturating_sub(self.buffer.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_however_the_stream_is_cut() {
        let stream = [2, 0, 0, b'h', b'i', 0, 0, 0, 1, 0, 0, b'x'];
        for cut in 0..stream.len() {
            let mut frames = Frames::new();
            let mut got = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                frames.buffer().extend_from_slice(part);
                while let Some(frame) = frames.next(10).unwrap() {
                    got.push(frame.to_vec());
                }
            }
            assert_eq!(got, [b"hi".to_vec(), b"x".to_vec()], "cut at {cut}");
            assert_eq!(frames.missing(), 3);
        }
    }

    #[test]
    fn a_frame_past_the_limit_is_refused_before_it_is_read() {
        let mut frames = Frames::new();
        frames.buffer().extend_from_slice(&[0xff, 0xff, 0xff]);
        assert_eq!(frames.next(1000), Err(FrameError { length: MAX_FRAME, limit: 1000 }));
    }
}
