//! Bytes between the loop that speaks HTTP and threads that block on the disk, a few pieces at a time.

use super::Problem;
use axum::body::Body;
use axum::body::Bytes;
use futures::stream::{self, StreamExt};
use std::io::{self, Read};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Pieces on their way.
const PIECES: usize = 4;
/// Whoever sends or takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A whole body of at most `limit` bytes.
pub async fn whole(body: Body, limit: usize) -> Result<Bytes, Problem> {
    match timeout(PATIENCE, axum::body::to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_long(&error) => {
            Err(Problem::too_large(format!("one request takes at most {limit} bytes; send it in parts")))
        }
        _ => Err(Problem::cut_off()),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        // The type has no public name.
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = error.source();
    }
    false
}

enum Piece {
    Bytes(Bytes),
    End,
}

/// The end of a body that a blocking thread reads.
pub struct Incoming {
    pieces: mpsc::Receiver<Piece>,
    rest: Bytes,
    ended: bool,
}

/// The other end, which the loop feeds.
pub struct Feeder(mpsc::Sender<Piece>);

/// A way for a body into a blocking thread.
pub fn incoming() -> (Feeder, Incoming) {
    let (sender, pieces) = mpsc::channel(PIECES);
    (Feeder(sender), Incoming { pieces, rest: Bytes::new(), ended: false })
}

impl Feeder {
    /// Passes the body on. If it breaks off, the reader gets an error and not an end.
    pub async fn feed(self, body: Body) {
        let mut body = body.into_data_stream();
        loop {
            let piece = match timeout(PATIENCE, body.next()).await {
                Ok(Some(Ok(bytes))) => Piece::Bytes(bytes),
                Ok(None) => Piece::End,
                Ok(Some(Err(_))) | Err(_) => return,
            };
            let last = matches!(piece, Piece::End);
            if self.0.send(piece).await.is_err() || last {
                return;
            }
        }
    }
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.rest = bytes,
                Some(Piece::End) => self.ended = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let size = into.len().min(self.rest.len());
        into[..size].copy_from_slice(&self.rest.split_to(size));
        Ok(size)
    }
}

/// The end of an answer that a blocking thread writes.
pub struct Outgoing(mpsc::Sender<io::Result<Bytes>>);

/// A way for an answer out of a blocking thread.
pub fn outgoing() -> (Outgoing, Body) {
    let (sender, pieces) = mpsc::channel(PIECES);
    let pieces = stream::unfold(pieces, |mut pieces| async move { Some((pieces.recv().await?, pieces)) });
    (Outgoing(sender), Body::from_stream(pieces))
}

impl Outgoing {
    /// Sends a piece, or breaks the answer off with an error; false when nobody takes any more. Blocks: call it from
    /// a blocking thread of the runtime.
    pub fn send(&self, piece: io::Result<Bytes>) -> bool {
        let sent = Handle::current().block_on(timeout(PATIENCE, self.0.send(piece)));
        matches!(sent, Ok(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_breaks_off_is_an_error_and_not_an_end() {
        for (whole, pieces) in
            [(true, vec![Ok("ab"), Ok(""), Ok("c")]), (false, vec![Ok("ab"), Err(io::Error::other("gone"))])]
        {
            let (feeder, mut reader) = incoming();
            let read = tokio::task::spawn_blocking(move || {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).map(|_| all)
            });
            feeder.feed(Body::from_stream(stream::iter(pieces))).await;
            let read = read.await.unwrap();
            assert_eq!(read.ok(), whole.then(|| b"abc".to_vec()));
        }
    }

    #[tokio::test]
    async fn a_body_has_a_greatest_length() {
        assert_eq!(whole(Body::from("abc"), 3).await.unwrap(), "abc");
        assert_eq!(whole(Body::from("abcd"), 3).await.unwrap_err().code, "too_large");
    }
}
