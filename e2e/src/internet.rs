//! A server that stands for the internet: it tells each visitor the address it sees.

use crate::inside::inside;
use anyhow::{Context as _, Result};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Where it listens.
pub const PORT: u16 = 8000;

/// The server, until it is dropped.
pub struct Internet {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Internet {
    /// Listens inside a namespace.
    pub fn open(namespace: &str) -> Result<Self> {
        let listener = inside(namespace, || {
            TcpListener::bind(("0.0.0.0", PORT)).context("the internet's port is taken")
        })?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    // A visitor who leaves early is no concern of the others.
                    Ok((stream, from)) => drop(greet(stream, from)),
                    Err(_) => std::thread::sleep(Duration::from_millis(10)),
                }
            }
        });
        Ok(Internet { stop, thread: Some(thread) })
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn greet(mut stream: TcpStream, from: SocketAddr) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut asked: Vec<u8> = Vec::new();
    let mut part = [0; 1024];
    while !asked.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        match stream.read(&mut part)? {
            0 => break,
            size => asked.extend(&part[..size]),
        }
    }
    let body = from.ip().to_string();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}
