//! Packets through the switch between machine and doorbell: none lost or doubled, and in order.

use crate::stage::{Stage, WORLD_V4, WORLD_V6, numbered, open_as};
use cloudpal_link::{Barrier, Recorded, SwitchError, Target, Tenant};
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(10);

/// Sends 5,000 numbered datagrams a second until told to end; returns how many.
fn sender(socket: UdpSocket, end: std::sync::Arc<AtomicBool>) -> JoinHandle<u32> {
    std::thread::spawn(move || {
        let begun = Instant::now();
        let mut number = 0u32;
        while !end.load(Ordering::SeqCst) {
            socket.send(&numbered(number)).expect("the world can send");
            number += 1;
            let due = begun + Duration::from_micros(200) * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        number
    })
}

fn numbers(heard: &[Vec<u8>]) -> Vec<u32> {
    heard.iter().map(|payload| u32::from_le_bytes(payload[8..12].try_into().expect("4 bytes"))).collect()
}

fn sleeps_and_wakes_under_load(world: IpAddr) {
    let stage = Stage::set();
    let (machine, mut bell) = (stage.machine(), stage.bell());
    let switch = stage.tenant.switch();
    switch.to_tap().unwrap();
    let end = std::sync::Arc::new(AtomicBool::new(false));
    let sender = sender(stage.socket(world), end.clone());
    machine.wait_for(100);
    let (mut before, mut after, mut switched, mut barriers) = (0, 0, Vec::new(), Vec::new());
    let mut late = 0;
    for round in 0..20 {
        switch.to_bell().unwrap();
        loop {
            let barrier = bell.barrier(LONG).unwrap();
            let Barrier::Taken { after: taken } = barrier else { panic!("round {round}: {barrier:?}") };
            barriers.push(taken.as_micros());
            machine.pause();
            if !machine.has_waiting() {
                break;
            }
            // A processor that was itself stopped while it forwarded a packet delivers it behind the barrier.
            late += 1;
            machine.resume();
        }
        bell.listen(&Recorded::default());
        bell.hold();
        for _ in 0..10 {
            bell.wait(Some(Duration::from_millis(5))).unwrap();
            bell.pump().unwrap();
            std::thread::sleep(Duration::from_millis(4));
        }
        machine.resume();
        let handed = bell.hand_over(switch).unwrap();
        (before, after) = (before + handed.before, after + handed.after);
        switched.push(handed.switched_in.as_micros());
    }
    machine.wait_for(machine.heard().len() + 500);
    end.store(true, Ordering::SeqCst);
    let sent = sender.join().unwrap();
    let got = numbers(&machine.wait_for(sent as usize));
    assert!(late <= 2, "packets would be lost in {late} of 20 pauses");
    println!("{world}: barriers in us: {barriers:?}");
    println!("{world}: sent {sent}, through the doorbell {before} + {after}, switched in us: {switched:?}");
    assert!(before > 100, "the doorbell held too little for this to mean something: {before}");
    assert_eq!(got.len(), sent as usize, "lost or doubled");
    // In the moment of a switch a burst can overtake what came just before it, by a few packets.
    let overtaken: Vec<_> = got.windows(2).filter(|pair| pair[0] > pair[1]).collect();
    println!("overtaken: {overtaken:?}");
    assert!(overtaken.len() <= 20, "more than one a switch");
    assert!(overtaken.iter().all(|pair| pair[0] - pair[1] < 64), "far out of order");
    let mut sorted = got;
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..sent), "lost or doubled");
    assert_eq!(bell.counters().full, 0);
}

#[test]
fn ipv4_loses_doubles_and_reorders_nothing() {
    sleeps_and_wakes_under_load(WORLD_V4.into());
}

#[test]
fn ipv6_loses_doubles_and_reorders_nothing() {
    sleeps_and_wakes_under_load(WORLD_V6.into());
}

#[test]
fn preparing_again_disturbs_nothing() {
    let stage = Stage::set();
    let machine = stage.machine();
    assert_eq!(stage.tenant.switch().current().unwrap(), Target::Bell, "a new tenant's pal does not run yet");
    stage.tenant.switch().to_tap().unwrap();
    let end = std::sync::Arc::new(AtomicBool::new(false));
    let senders = [WORLD_V4.into(), WORLD_V6.into()].map(|world| sender(stage.socket(world), end.clone()));
    machine.wait_for(100);
    for _ in 0..5 {
        let again = Tenant::prepare(&stage.plan).unwrap();
        assert_eq!(again.switch().current().unwrap(), Target::Tap);
    }
    end.store(true, Ordering::SeqCst);
    let sent: u32 = senders.map(|sender| sender.join().unwrap()).iter().sum();
    assert_eq!(machine.wait_for(sent as usize).len(), sent as usize);
    let traffic = stage.tenant.traffic().unwrap();
    assert_eq!(traffic.inward_packets, u64::from(sent), "the counters began anew");
}

#[test]
fn a_machine_that_does_not_answer_is_silent() {
    let stage = Stage::set();
    let (machine, bell) = (stage.machine(), stage.bell());
    machine.pause();
    assert_eq!(bell.barrier(Duration::from_millis(200)).unwrap(), Barrier::Silent);
    machine.resume();
    assert!(matches!(bell.barrier(LONG).unwrap(), Barrier::Taken { .. }), "control");
}

#[test]
fn only_the_hypervisors_user_opens_the_tap() {
    let stage = Stage::set();
    let to_tap = || stage.tenant.switch().to_tap();
    assert!(matches!(to_tap(), Err(SwitchError::Closed)), "nobody has it open");
    let refused = open_as(&stage.tenant, stage.plan.tap_owner - 1).unwrap_err();
    assert_eq!(refused, nix::errno::Errno::EPERM);
    let _tap = open_as(&stage.tenant, stage.plan.tap_owner).unwrap();
    to_tap().expect("the hypervisor's user opens the tap without being root");
}
