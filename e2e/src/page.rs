//! What the device asks over the tunnel: names by the pal's resolver, and its page, as a browser would.

use anyhow::{Context as _, Result, bail, ensure};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// A page may take as long as a wake.
const PATIENCE: Duration = Duration::from_secs(10);

/// No answer is longer, bytes.
const LIMIT: u64 = 1 << 20;

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub body: &'a str,
    /// `name: value`, if one more header is wanted.
    pub header: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// A request with a body of JSON, or none.
    pub fn new(method: &'a str, path: &'a str, body: &'a str) -> Self {
        Ask { method, path, body, header: None }
    }
}

/// One HTTP/1.1 request; `host` is the name the browser shows. Call it inside a namespace.
pub fn request(to: SocketAddr, host: &str, ask: Ask<'_>) -> Result<Answer> {
    let mut stream =
        TcpStream::connect_timeout(&to, PATIENCE).with_context(|| format!("cannot reach {to}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let Ask { method, path, body, .. } = ask;
    let header = ask.header.map_or_else(String::new, |header| format!("{header}\r\n"));
    let size = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\nconnection: close\r\n{header}\
         content-type: application/json\r\ncontent-length: {size}\r\n\r\n"
    );
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .context("cannot ask")?;
    let mut said = Vec::new();
    stream.take(LIMIT).read_to_end(&mut said).with_context(|| format!("{host}{path} did not answer"))?;
    parse(&said).with_context(|| format!("{host}{path} answered something that is not HTTP"))
}

/// Status and body. A body in chunks is put together.
fn parse(said: &[u8]) -> Option<Answer> {
    let split = said.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&said[..split]).ok()?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    let rest = &said[split + 4..];
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { dechunk(rest)? } else { rest.to_vec() };
    Some(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|bytes| bytes == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend(rest.get(line + 2..line + 2 + size)?);
        rest = rest.get(line + 2 + size + 2..)?;
    }
}

/// The IPv4 address of a name (RFC 1035), asked of one resolver. Call it inside a namespace.
pub fn resolve(resolver: IpAddr, name: &str) -> Result<Ipv4Addr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect((resolver, 53))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let id = std::process::id() as u16;
    let question = question(id, name);
    let mut answer = [0; 1500];
    for _ in 0..3 {
        socket.send(&question).with_context(|| format!("cannot ask {resolver}"))?;
        if let Ok(size) = socket.recv(&mut answer) {
            ensure!(answer[..2] == id.to_be_bytes(), "{resolver} answered another question");
            return first_address(&answer[..size], question.len())
                .with_context(|| format!("{resolver} knows no address of {name} (code {})", answer[3] & 15));
        }
    }
    bail!("{resolver} does not answer")
}

fn question(id: u16, name: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    // Recursion wanted, one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    // End of name, type A, class IN.
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// The first A record of an answer whose question ends at `at`.
fn first_address(answer: &[u8], mut at: usize) -> Option<Ipv4Addr> {
    let count = u16::from_be_bytes([*answer.get(6)?, *answer.get(7)?]);
    for _ in 0..count {
        at = after_name(answer, at)?;
        let fields = answer.get(at..at + 10)?;
        let size = usize::from(u16::from_be_bytes([fields[8], fields[9]]));
        let data = answer.get(at + 10..at + 10 + size)?;
        if fields[..2] == [0, 1] && size == 4 {
            return Some(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?));
        }
        at += 10 + size;
    }
    None
}

fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            // A pointer is two bytes and ends the name.
            byte if byte & 0xc0 == 0xc0 => return Some(at + 2),
            size => at += 1 + usize::from(size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_plain_and_chunked_answers() {
        let plain = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap();
        assert_eq!(plain, Answer { status: 200, body: "hi".into() });
        let chunked = b"HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap(), Answer { status: 503, body: "abcde".into() });
        assert_eq!(parse(b"nonsense"), None);
        assert_eq!(parse(&chunked[..50]), None);
    }

    #[test]
    fn reads_an_address_behind_an_alias_and_survives_any_cut() {
        let question = question(7, "home.ada.internal");
        let mut answer = question.clone();
        answer[7] = 2;
        // An alias first: name by pointer, type CNAME, class IN, 60 s, two bytes.
        answer.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 2, 0xc0, 12]);
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 100, 64, 0, 1]);
        assert_eq!(first_address(&answer, question.len()), Some(Ipv4Addr::new(100, 64, 0, 1)));
        for cut in 0..answer.len() {
            assert_eq!(first_address(&answer[..cut], question.len()), None, "cut at {cut}");
        }
    }
}
