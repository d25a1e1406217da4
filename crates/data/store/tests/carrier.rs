//! Two stores over a connection that is no TCP: frames through channels.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use bytes::Bytes;
use cloudpal_log::Feed;
use cloudpal_log::wire::Role;
use cloudpal_store::{Carrier, FrameSink, FrameSource, Offer, Options, Store, StoreKey};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

struct From(Receiver<Vec<u8>>);

impl FrameSource for From {
    fn receive(&mut self, frames: &mut Vec<Bytes>) -> io::Result<()> {
        let first = self.0.recv().map_err(|_| io::ErrorKind::UnexpectedEof)?;
        frames.push(first.into());
        frames.extend(self.0.try_iter().map(Bytes::from));
        Ok(())
    }
}

/// None once somebody has hung up.
type Line = Arc<Mutex<Option<Sender<Vec<u8>>>>>;

struct To(Line);

impl FrameSink for To {
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let line = self.0.lock().unwrap();
        let sent = line.as_ref().and_then(|line| line.send(frame.to_vec()).ok());
        sent.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

/// Both ends of a connection, the first told of logs as `offers` says.
fn connection(keys: [[u8; 32]; 2], offers: [Offer; 2]) -> [Carrier; 2] {
    let lines = [channel(), channel()];
    let [(to_second, from_first), (to_first, from_second)] = lines;
    let lines: [Line; 2] = [to_second, to_first].map(|line| Arc::new(Mutex::new(Some(line))));
    let end = |role, mine: usize, source| {
        let both = lines.clone();
        Carrier {
            role,
            hash: [5; 64],
            remote_key: keys[1 - mine],
            remote_address: None,
            offer: offers[mine],
            source: Box::new(From(source)),
            sink: Box::new(To(Arc::clone(&lines[mine]))),
            hang_up: Box::new(move || both.iter().for_each(|line| *line.lock().unwrap() = None)),
        }
    };
    [end(Role::Initiator, 0, from_second), end(Role::Responder, 1, from_first)]
}

#[test]
fn a_log_comes_over_any_carrier_and_is_offered_to_nobody_who_should_not_hear_of_it() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let open =
        |at: usize| Store::open(dirs[at].path(), &StoreKey::new([at as u8; 32]), Options::default()).unwrap();
    let (ours, theirs) = (open(0), open(1));
    let source = theirs.log("source").unwrap();
    source.append(&[Bytes::from_static(b"hello"), vec![7; 3 << 20].into()]).unwrap();
    let keys = [ours.network_key(), theirs.network_key()];

    // Nobody offers and nobody asks: neither hears of the other's logs.
    let [here, there] = connection(keys, [Offer::Nothing; 2]);
    let quiet = (ours.attach(here).unwrap(), theirs.attach(there).unwrap());
    let copy = ours.get(source.key()).unwrap();
    std::thread::sleep(SHORT);
    assert_eq!((copy.peers(), source.peers()), (0, 0));
    assert_eq!(quiet.0.remote_key(), theirs.network_key());
    quiet.0.close();
    assert!(quiet.0.wait(LONG).is_some() && quiet.1.wait(LONG).is_some());

    // One asks: that is enough.
    let [here, there] = connection(keys, [Offer::Open, Offer::Nothing]);
    let connection = ours.attach(here).unwrap();
    theirs.attach(there).unwrap();
    assert!(copy.wait_current(LONG));
    assert!(copy.fetch(0..2).unwrap().wait(LONG));
    assert_eq!(copy.get(1).unwrap(), source.get(1).unwrap());
    assert!(!connection.is_closed());

    // A store that closes hangs up.
    theirs.close().unwrap();
    assert!(connection.wait(LONG).is_some());
}
