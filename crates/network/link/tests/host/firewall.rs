//! What passes the tenant's firewall, what does not, and what it notes.

use crate::stage::{Machine, PORT, Stage, WORLD_V4, WORLD_V6, numbered, run};
use cloudpal_link::{Namespace, RecordedSession, Tenant, Traffic};
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

/// A WireGuard message of this type and length with two indices in it.
fn message(kind: u8, length: usize, first: u32, second: u32) -> Vec<u8> {
    let mut message = vec![0; length];
    message[0] = kind;
    message[4..8].copy_from_slice(&first.to_le_bytes());
    message[8..12].copy_from_slice(&second.to_le_bytes());
    message
}

fn receive(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = [0; 2048];
    socket.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())
}

/// A machine that has heard from a socket in the world, so that it can answer.
fn acquainted(stage: &Stage, world: IpAddr) -> (Machine, UdpSocket) {
    let machine = stage.machine();
    stage.tenant.switch().to_tap().unwrap();
    let socket = stage.socket(world);
    socket.send(&numbered(0)).unwrap();
    assert_eq!(machine.wait_for(1).len(), 1);
    (machine, socket)
}

fn notes_what_the_pal_says(world: IpAddr) {
    let stage = Stage::set();
    let (machine, socket) = acquainted(&stage, world);
    assert_eq!(stage.tenant.recorded().unwrap(), Default::default());
    machine.answer(&message(2, 92, 0xa1b2_c3d4, 0x0102_0304));
    machine.answer(&message(1, 148, 0xffff_fffe, 9));
    for other in [message(4, 92, 5, 5), message(2, 91, 6, 6), message(1, 149, 7, 7), message(3, 64, 8, 8)] {
        machine.answer(&other);
    }
    for length in [92, 148, 92, 91, 149, 64] {
        assert_eq!(receive(&socket).map(|got| got.len()), Some(length), "all of it passes");
    }
    let recorded = stage.tenant.recorded().unwrap();
    assert_eq!(recorded.answered, [0x0102_0304]);
    let mut sessions = recorded.sessions;
    sessions.sort_by_key(|session| session.receiver);
    let endpoint = socket.local_addr().unwrap();
    let found: Vec<_> = sessions.iter().map(|session| (session.endpoint, session.receiver)).collect();
    assert_eq!(found, [(endpoint, 0xa1b2_c3d4), (endpoint, 0xffff_fffe)]);
    let fresh = |session: &RecordedSession| (150..=190).contains(&session.left.as_secs());
    assert!(sessions.iter().all(fresh), "{sessions:?}");
}

#[test]
fn notes_sessions_and_answers_of_ipv4() {
    notes_what_the_pal_says(WORLD_V4.into());
}

#[test]
fn notes_sessions_and_answers_of_ipv6() {
    notes_what_the_pal_says(WORLD_V6.into());
}

fn drops_false_sources(world: IpAddr) {
    let stage = Stage::set();
    let (machine, socket) = acquainted(&stage, world);
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    machine.answer(b"true");
    assert_eq!(receive(&socket).as_deref(), Some(&b"true"[..]), "control");
    let mut false_source = machine.last().answer(b"false");
    // The last byte of the source address and, to keep the checksum right, one of the payload's against it.
    let (at, payload) = if world.is_ipv4() { (15, 28) } else { (23, 48) };
    false_source[at] += 1;
    false_source[payload + 1] -= 1;
    if world.is_ipv4() {
        refresh_header(&mut false_source);
    }
    machine.send(&false_source);
    assert_eq!(receive(&socket), None);
    let traffic = stage.tenant.traffic().unwrap();
    assert_eq!((traffic.spoofed_packets, traffic.outward_packets, traffic.inward_packets), (1, 1, 1));
    let header = if world.is_ipv4() { 28 } else { 48 };
    assert_eq!((traffic.inward_bytes, traffic.outward_bytes), (header + 96, header + 4));
}

#[test]
fn drops_false_sources_of_ipv4() {
    drops_false_sources(WORLD_V4.into());
}

#[test]
fn drops_false_sources_of_ipv6() {
    drops_false_sources(WORLD_V6.into());
}

#[test]
fn refuses_private_networks_but_to_wireguard() {
    let stage = Stage::set();
    run(&stage.world, "ip", "address add 10.1.2.3/32 dev lo");
    let (machine, _) = acquainted(&stage, "10.1.2.3".parse().unwrap());
    let (from_wireguard, socket) = (machine.last(), stage.socket("10.1.2.3".parse().unwrap()));
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    socket.send(&numbered(1)).unwrap();
    machine.wait_for(2);
    machine.answer(b"from the listen port");
    assert_eq!(receive(&socket).as_deref(), Some(&b"from the listen port"[..]), "control");
    let mut elsewhere = from_wireguard.answer(b"from another port");
    elsewhere[20..22].copy_from_slice(&(PORT + 1).to_be_bytes());
    machine.send(&elsewhere);
    // The data centre's own services, cloud metadata, the tenant's namespace.
    for address in [[169, 254, 169, 254], [169, 254, 1, 1], [127, 0, 0, 1], [224, 0, 0, 1]] {
        let mut packet = machine.last().answer(b"let me in");
        packet[16..20].copy_from_slice(&address);
        refresh_header(&mut packet);
        machine.send(&packet);
    }
    assert_eq!(receive(&socket), None);
    let traffic = stage.tenant.traffic().unwrap();
    assert_eq!(traffic.outward_packets, 1);
    assert!(traffic.refused_packets >= 1, "{traffic:?}");
}

fn refresh_header(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum: u32 = packet[..20].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn junk_stays_in_the_kernel_and_fills_nothing() {
    let stage = Stage::set();
    let mut bell = stage.bell();
    bell.listen(&Default::default());
    for world in [IpAddr::V4(WORLD_V4), IpAddr::V6(WORLD_V6)] {
        let socket = stage.socket(world);
        for i in 0..1000u32 {
            let junk = match i % 4 {
                0 => message(0, 148, i, i),
                1 => message(5, 148, i, i),
                2 => message(4, 31, i, i),
                _ => b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec(),
            };
            socket.send(&junk).unwrap();
        }
        // Whole messages of false content reach the doorbell, which drops them.
        for kind in [(1, 148), (2, 92), (3, 64), (4, 32), (4, 100)] {
            socket.send(&message(kind.0, kind.1, 1, 2)).unwrap();
        }
    }
    let (mut read, until) = (0, Instant::now() + Duration::from_secs(20));
    while read < 10 && Instant::now() < until {
        bell.wait(Some(Duration::from_millis(100))).unwrap();
        let heard = bell.pump().unwrap();
        assert_eq!((heard.rung, heard.held), (false, 0));
        read += heard.read;
    }
    let counters = bell.counters();
    assert_eq!((counters.mac1, counters.unasked, counters.keepalives, counters.strangers), (2, 4, 2, 2));
    let traffic = stage.tenant.traffic().unwrap();
    let expected = Traffic { junk_packets: 2000, rung_packets: 10, ..Traffic::default() };
    assert_eq!(traffic, expected);
    assert_eq!(stage.tenant.recorded().unwrap(), Default::default());
}

#[test]
fn nothing_is_left() {
    let stage = Stage::set();
    let (name, world) = (stage.plan.name.clone(), stage.world.name().to_owned());
    assert!(run(&stage.world, "ip", "-o link").contains(&name), "control");
    let left = || {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let listed = std::fs::read_dir("/run/netns").unwrap().map(|entry| entry.unwrap().file_name());
        let files = listed.filter(|file| file.to_string_lossy().contains(&name)).count();
        (mounts.matches(&name).count(), files)
    };
    assert!(left().0 >= 2 && left().1 == 2, "control: {:?}", left());
    let listed =
        String::from_utf8(std::process::Command::new("ip").args(["netns", "list"]).output().unwrap().stdout);
    assert!(listed.unwrap().contains(&name), "`ip netns` does not know it");
    Tenant::remove(&name, &stage.plan.uplink).unwrap();
    assert!(!run(&stage.world, "ip", "-o link").contains(&name));
    assert!(!run(&stage.world, "ip", "route").contains("203.0.113"));
    Tenant::remove(&name, &stage.plan.uplink).expect("removing twice is fine");
    Namespace::remove(&world).unwrap();
    Tenant::remove(&name, &stage.plan.uplink).expect("removing without its uplink is fine");
    assert_eq!(left(), (0, 0));
}
