//! The WebSocket on a real socket, spoken to byte by byte as `docs/database-api.md` has it.
#![allow(clippy::unwrap_used, reason = "a test stops there, and says where")]

mod common;

use cloudpal_base::{Kind, Sub};
use cloudpal_log::codec::{Reader, Write as _};
use cloudpal_serve::token::Right;
use cloudpal_serve::{Code, Limits};
use common::Server;
use std::collections::VecDeque;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A client that writes what it is told.
struct Client<'a> {
    server: &'a Server,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    frames: VecDeque<Vec<u8>>,
}

/// The kind of a frame, the number it bears, and the rest.
type Answer = (u8, u64, Vec<u8>);

impl<'a> Client<'a> {
    fn connect(server: &'a Server) -> Self {
        let url = format!("ws://{}/v1/databases/home/socket", server.address);
        let (socket, _) = server.runtime.block_on(connect_async(url)).unwrap();
        Client { server, socket, frames: VecDeque::new() }
    }

    fn hello(server: &'a Server, token: &str) -> Self {
        let mut client = Client::connect(server);
        client.send(&[hello(token, 1)]);
        let (kind, id, body) = client.hear().unwrap();
        assert_eq!((kind, id, body[0]), (0, 1, 1));
        assert_eq!(body[1..], server.database.key());
        client
    }

    /// Frames of one message.
    fn send(&mut self, frames: &[Vec<u8>]) {
        let mut message = Vec::new();
        frames.iter().for_each(|frame| message.buffer(frame));
        self.say(Message::Binary(message.into()));
    }

    fn say(&mut self, message: Message) {
        let sent = futures::SinkExt::send(&mut self.socket, message);
        self.server.runtime.block_on(sent).unwrap();
    }

    /// The next frame; none when the connection has ended.
    fn hear(&mut self) -> Option<Answer> {
        while self.frames.is_empty() {
            match self.server.runtime.block_on(futures::StreamExt::next(&mut self.socket))?.ok()? {
                Message::Binary(bytes) => {
                    let mut reader = Reader::new(&bytes);
                    while !reader.is_empty() {
                        self.frames.push_back(reader.buffer("a frame").unwrap().to_vec());
                    }
                }
                Message::Close(_) => return None,
                _ => {}
            }
        }
        let frame = self.frames.pop_front()?;
        let mut reader = Reader::new(&frame);
        Some((reader.byte().unwrap(), reader.uint().unwrap(), reader.rest().to_vec()))
    }

    fn ok(&mut self, id: u64) -> Vec<u8> {
        let (kind, of, body) = self.hear().unwrap();
        assert_eq!((kind, of), (0, id), "{}", String::from_utf8_lossy(&body));
        body
    }

    fn refused(&mut self, id: u64) -> u64 {
        let (kind, of, body) = self.hear().unwrap();
        assert_eq!((kind, of), (1, id));
        Reader::new(&body).uint().unwrap()
    }
}

fn frame(code: u8, id: u64, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = vec![code];
    frame.uint(id);
    fill(&mut frame);
    frame
}

fn hello(token: &str, version: u64) -> Vec<u8> {
    frame(1, 1, |out| {
        out.uint(version);
        out.uint(version);
        out.string(token);
    })
}

fn notes(out: &mut Vec<u8>) {
    out.push(0);
    out.string("notes");
}

/// One put; `origin`: of a client that numbers its batches.
fn put(id: u64, origin: Option<u64>, key: &str, value: &str) -> Vec<u8> {
    frame(5, id, |out| {
        out.push(u8::from(origin.is_some()));
        if let Some(sequence) = origin {
            out.raw(&[4; 16]);
            out.uint(sequence);
        }
        out.push(0);
        out.uint(1);
        notes(out);
        out.uint(1);
        out.push(0);
        out.uint(0);
        out.buffer(key.as_bytes());
        out.buffer(value.as_bytes());
    })
}

fn get(id: u64, snapshot: u64, key: &str) -> Vec<u8> {
    frame(3, id, |out| {
        out.uint(snapshot);
        notes(out);
        out.uint(1);
        out.buffer(key.as_bytes());
    })
}

/// What an answer to `get` says of its one key.
fn value(body: &[u8]) -> Option<String> {
    let mut reader = Reader::new(body);
    assert_eq!(reader.uint().unwrap(), 1);
    let present = reader.byte().unwrap() == 1;
    present.then(|| String::from_utf8(reader.buffer("a value").unwrap().to_vec()).unwrap())
}

fn number(code: u8, id: u64, number: u64) -> Vec<u8> {
    frame(code, id, |out| out.uint(number))
}

#[test]
fn requests_in_one_message_are_done_in_order() {
    let server = Server::start(Limits::default());
    let token = server.token("notes", Right::Write, 1).reveal();
    let mut client = Client::hello(&server, &token);
    client.send(&[
        put(2, None, "a", "1"),
        number(7, 0, 9),
        put(3, None, "a", "2"),
        get(4, 9, "a"),
        get(5, 0, "a"),
        get(6, 0, "b"),
    ]);
    assert_eq!(client.ok(2), b"");
    assert_eq!(client.ok(3), b"");
    assert_eq!(value(&client.ok(4)), Some("1".into()), "the snapshot was made between the two");
    assert_eq!(value(&client.ok(5)), Some("2".into()));
    assert_eq!(value(&client.ok(6)), None);
    client.send(&[number(8, 7, 9), get(8, 9, "a")]);
    client.ok(7);
    assert_eq!(client.refused(8), Code::NoSnapshot as u64);
}

#[test]
fn a_thousand_puts_at_once_are_all_there_and_the_last_of_each_key_wins() {
    let server = Server::start(Limits::default());
    let token = server.token("", Right::Write, 1).reveal();
    let mut client = Client::hello(&server, &token);
    for i in 0..1000_u64 {
        client.send(&[put(i + 2, Some(i + 1), &format!("key {}", i % 7), &i.to_string())]);
    }
    (0..1000).for_each(|i| assert_eq!(client.ok(i + 2), b""));
    let view = server.database.snapshot();
    let sub = Sub::new("notes", Kind::Register).unwrap();
    for key in 0..7_u64 {
        let last = (993..1000).find(|i| i % 7 == key).unwrap();
        assert_eq!(view.get(&sub, format!("key {key}").as_bytes()).unwrap().unwrap(), last.to_string());
    }
}

#[test]
fn a_batch_that_is_sent_again_is_done_once_on_whatever_connection() {
    let server = Server::start(Limits::default());
    let token = server.token("", Right::Write, 1).reveal();
    let mut first = Client::hello(&server, &token);
    first.send(&[put(2, Some(1), "a", "1"), put(3, Some(2), "a", "2")]);
    first.ok(2);
    first.ok(3);
    first.send(&[put(4, None, "a", "newer")]);
    first.ok(4);
    let mut second = Client::hello(&server, &token);
    second.send(&[put(2, Some(2), "a", "2"), put(3, Some(3), "b", "3"), get(4, 0, "a"), get(5, 0, "b")]);
    second.ok(2);
    second.ok(3);
    assert_eq!(value(&second.ok(4)), Some("newer".into()));
    assert_eq!(value(&second.ok(5)), Some("3".into()));
}

#[test]
fn a_refused_batch_does_not_take_its_neighbours_along() {
    let server = Server::start(Limits::default());
    let token = server.token("", Right::Write, 1).reveal();
    let mut client = Client::hello(&server, &token);
    let odd = frame(5, 3, |out| {
        out.extend([0, 0]);
        out.uint(1);
        out.push(3);
        out.string("visits");
        out.uint(1);
        out.extend([0, 0]);
        out.buffer(b"today");
        out.buffer(b"no number");
    });
    client.send(&[put(2, None, "a", "1"), odd, put(4, None, "b", "2")]);
    client.ok(2);
    assert_eq!(client.refused(3), Code::Invalid as u64);
    client.ok(4);
}

#[test]
fn changes_come_as_far_as_credit_goes() {
    let server = Server::start(Limits::default());
    let token = server.token("notes", Right::Write, 1).reveal();
    let mut client = Client::hello(&server, &token);
    let subscribe = frame(9, 2, |out| {
        out.extend([0, 0]);
        out.uint(1);
    });
    client.send(&[subscribe, put(3, None, "a", "1")]);
    let mut answers = [client.hear().unwrap(), client.hear().unwrap(), client.hear().unwrap()];
    answers.sort();
    assert_eq!(
        answers.iter().map(|(kind, id, _)| (*kind, *id)).collect::<Vec<_>>(),
        [(0, 2), (0, 3), (2, 2)]
    );
    client.send(&[put(4, None, "b", "2"), frame(14, 5, |_| {})]);
    client.ok(4);
    client.ok(5);
    client.send(&[frame(10, 6, |out| {
        out.uint(2);
        out.uint(1);
    })]);
    client.ok(6);
    let (kind, id, _) = client.hear().unwrap();
    assert_eq!((kind, id), (2, 2), "what happened without credit is told with it");
}

#[test]
fn who_does_not_keep_to_the_protocol_is_told_and_sent_away() {
    let server = Server::start(Limits::default());
    let token = server.token("", Right::Write, 1).reveal();
    let cases: [(Vec<u8>, Code); 4] = [
        (hello("cpdb_AAAA", 1), Code::Unauthorized),
        (hello(&token, 2), Code::Version),
        (get(1, 0, "a"), Code::Malformed),
        (vec![99, 1], Code::Malformed),
    ];
    for (first, code) in cases {
        let mut client = Client::connect(&server);
        client.send(&[first]);
        let (kind, _, body) = client.hear().unwrap();
        assert_eq!((kind, Reader::new(&body).uint().unwrap()), (1, code as u64));
        assert_eq!(client.hear(), None);
    }
    let mut client = Client::hello(&server, &token);
    client.say(Message::Text("hello".into()));
    assert_eq!(client.refused(0), Code::Malformed as u64);
    assert_eq!(client.hear(), None);
}

#[test]
fn snapshots_subscriptions_and_connections_are_limited() {
    let server = Server::start(Limits { snapshots: 2, connections: 2, ..Limits::default() });
    let token = server.token("", Right::Write, 1).reveal();
    let mut client = Client::hello(&server, &token);
    client.send(&[number(7, 2, 1), number(7, 3, 2), number(7, 4, 3), number(8, 5, 1), number(7, 6, 3)]);
    client.ok(2);
    client.ok(3);
    assert_eq!(client.refused(4), Code::TooMany as u64);
    client.ok(5);
    client.ok(6);
    let _second = Client::hello(&server, &token);
    let mut third = Client::connect(&server);
    assert_eq!(third.refused(0), Code::TooMany as u64);
}
