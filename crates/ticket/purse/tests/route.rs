//! By which way calls go when a SOCKS proxy, such as Tor's, is configured: the purchase straight, everything
//! after by the proxy, which also resolves the seller's name.

#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cloudpal_purse::{LockRequest, OpenError, Purse, Route};
use support::{MONTH, SEED, World, now_unix};

/// A SOCKS5 proxy that takes names only, and counts.
fn socks(named: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("socks5://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let named = named.clone();
            std::thread::spawn(move || relay(client.unwrap(), &named));
        }
    });
    address
}

fn relay(mut client: TcpStream, named: &AtomicUsize) -> Option<()> {
    let mut head = [0; 2];
    client.read_exact(&mut head).ok()?;
    client.read_exact(&mut vec![0; head[1].into()]).ok()?;
    client.write_all(&[5, 0]).ok()?;
    let mut request = [0; 5];
    client.read_exact(&mut request).ok()?;
    assert_eq!(request[..4], [5, 1, 0, 3], "the name goes to the proxy, not an address");
    let mut name = vec![0; request[4].into()];
    client.read_exact(&mut name).ok()?;
    assert_eq!(name, b"localhost");
    let mut port = [0; 2];
    client.read_exact(&mut port).ok()?;
    let mut server = TcpStream::connect(("127.0.0.1", u16::from_be_bytes(port))).ok()?;
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).ok()?;
    named.fetch_add(1, Ordering::SeqCst);
    let (mut from, mut to) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    std::io::copy(&mut server, &mut client).ok().map(drop)
}

#[test]
fn only_the_purchase_goes_straight() {
    let world = World::new();
    let named = Arc::new(AtomicUsize::new(0));
    let route = Route::Socks(socks(named.clone()));
    let url = world.url().replace("127.0.0.1", "localhost");
    let purse = Purse::open_by(&world.path("purse"), &url, &SEED, &route).unwrap();
    world.wait(purse.buy(&world.voucher(10), |_| {})).unwrap();
    let (all, by_proxy) = (world.proxy.calls(), named.load(Ordering::SeqCst));
    assert!(by_proxy > 0 && by_proxy < all, "{by_proxy} of {all} calls by the proxy");

    let till = world.till();
    let before = world.proxy.calls() - named.load(Ordering::SeqCst);
    let request = LockRequest {
        amounts: vec![1, 1],
        till_pubkey: till.public_key(),
        locktime_unix: now_unix() + MONTH,
        host: "dc".into(),
        pal: "pal".into(),
    };
    assert_eq!(world.wait(purse.lock(request)).unwrap().len(), 2);
    let after = world.proxy.calls() - named.load(Ordering::SeqCst);
    assert_eq!(before, after, "locking makes no straight call");
}

#[test]
fn a_proxy_that_is_not_one_is_refused_at_opening() {
    let world = World::new();
    for wrong in ["http://127.0.0.1:9050", "socks5://127.0.0.1", "socks5://127.0.0.1:port"] {
        let opened = Purse::open_by(&world.path("purse"), world.url(), &SEED, &Route::Socks(wrong.into()));
        assert!(matches!(opened, Err(OpenError::Seller(_))), "{wrong}");
    }
}
