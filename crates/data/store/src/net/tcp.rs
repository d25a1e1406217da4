//! Frames on TCP: three bytes of length, then one message of the secretstream.

use super::reader::ReadFault;
use super::secretstream::{BEFORE, BEHIND, Direction};
use bytes::{Buf, Bytes};
use cloudpal_log::wire::{Frames, MAX_FRAME};
use rustix::io::ioctl_fionread;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// What is read from the system at once, at most and at least.
const GULP: usize = 1 << 20;
const SIP: usize = 16 << 10;
/// Bytes of length before a message.
const HEAD: usize = 3;
/// What a frame leaves free before itself, so that it is encrypted in place.
pub(super) const ROOM: usize = HEAD + BEFORE;

/// What comes on a socket.
pub(super) struct TcpSource {
    stream: Arc<TcpStream>,
    receive: Direction,
    frames: Frames,
}

impl TcpSource {
    pub(super) fn new(stream: Arc<TcpStream>, receive: Direction) -> Self {
        TcpSource { stream, receive, frames: Frames::new() }
    }

    /// Reads once, and decrypts the frames that are whole then.
    pub(super) fn receive(&mut self, at_hand: &mut Vec<Bytes>) -> Result<(), ReadFault> {
        self.gulp()?;
        while let Some(mut frame) = self.frames.next(MAX_FRAME)? {
            self.receive.pull(&mut frame).ok_or(ReadFault::Cipher)?;
            frame.advance(BEFORE);
            frame.truncate(frame.len() - BEHIND);
            if !frame.is_empty() {
                at_hand.push(frame.freeze());
            }
        }
        Ok(())
    }

    /// Reads once, as much as has come.
    fn gulp(&mut self) -> Result<(), ReadFault> {
        let come = ioctl_fionread(&self.stream).map_err(io::Error::from)?;
        let room = usize::try_from(come).unwrap_or(GULP).clamp(SIP, GULP);
        let buffer = self.frames.buffer();
        let before = buffer.len();
        buffer.resize(before + room, 0);
        let mut stream = &*self.stream;
        let read = loop {
            match stream.read(&mut buffer[before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        buffer.truncate(before + read.as_ref().map_or(0, |read| *read));
        if read? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }
}

/// What goes out on a socket.
pub(super) struct TcpSink {
    stream: Arc<TcpStream>,
    send: Direction,
}

impl TcpSink {
    pub(super) fn new(stream: Arc<TcpStream>, send: Direction) -> Self {
        TcpSink { stream, send }
    }

    /// Encrypts what `buffer` holds behind its [`ROOM`], and sends it.
    pub(super) fn send(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.resize(buffer.len() + BEHIND, 0);
        let len = ((buffer.len() - HEAD) as u32).to_le_bytes();
        buffer[..HEAD].copy_from_slice(&len[..HEAD]);
        self.send.push(&mut buffer[HEAD..]);
        let mut stream = &*self.stream;
        stream.write_all(buffer)
    }
}
