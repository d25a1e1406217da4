//! A kill between any two steps: nothing lost, nothing doubled, and the same command goes on.

// Helpers of tests, too, fail by panicking.
#![allow(clippy::unwrap_used)]

mod fake;

use cloudpal_cli::command::delete::Consent;
use cloudpal_cli::command::{create, delete, device, pals, top_up};
use cloudpal_cli::failure::Exit;
use cloudpal_cli::person::Stage;
use cloudpal_plan::conf::{ClientConf, Routing};
use cloudpal_protocol::api::PalState;
use fake::{End, World};

fn wish(world: &World) -> create::Wish {
    create::Wish { at: world.host.url.clone(), name: "ada".into(), credit_cpm: Some(500) }
}

fn ready() -> World {
    let world = World::with_credit(1000);
    create::run(world.app(), &wish(&world)).unwrap();
    world
}

/// What is free, pending, with the pal and with the host; the purse's pending tickets may be there as well.
fn known_cpm(world: &World) -> (u64, u64) {
    let given = world.host.with_pal(|pal| pal.held() + pal.info.account.paid.floor_cpm());
    (world.credit.free(), given)
}

/// Cuts `what` at its first, second, ... step in a world of its own each, until a cut comes after its end.
/// Then runs it again without a cut and lets `judge` look.
fn cut_everywhere<T, E: std::fmt::Display>(
    world: impl Fn() -> World,
    what: impl Fn(&World) -> Result<T, E>,
    judge: impl Fn(&World, u64),
) -> u64 {
    for length in 1.. {
        let world = world();
        let end = world.fuse.cut(length, || what(&world).map_err(|error| error.to_string()));
        if let Err(error) = what(&world) {
            panic!("after a cut at step {length} ({:?}): {error}", end_word(&end));
        }
        judge(&world, length);
        if matches!(end, End::Whole(_)) {
            return length - 1;
        }
    }
    unreachable!()
}

fn end_word<T>(end: &End<Result<T, String>>) -> String {
    match end {
        End::Killed => "killed".into(),
        End::Whole(Ok(_)) | End::Lost(Ok(_)) => "done".into(),
        End::Whole(Err(error)) | End::Lost(Err(error)) => error.clone(),
    }
}

#[test]
fn create_goes_on_wherever_it_was_killed() {
    let cuts = cut_everywhere(
        || World::with_credit(1000),
        |world| create::run(world.app(), &wish(world)),
        |world, length| {
            assert_eq!(known_cpm(world), (500, 500), "cut {length}");
            assert_eq!(world.credit.pending_cpm(), 0, "cut {length}");
            assert_eq!(world.credit.locks().len(), 1, "cut {length}");
            let record = world.person.pal(None).unwrap();
            assert_eq!((record.stage, record.roster_sent), (Stage::Ready, true), "cut {length}");
            world.host.with_pal(|pal| {
                assert_eq!(pal.id(), record.id);
                assert_eq!(pal.info.keys, record.keys);
                assert!(pal.unlocks > 0 && pal.roster.is_some());
                assert_eq!(
                    pal.data_key.as_ref().unwrap(),
                    &world.person.phrase().unwrap().data_disk_key(record.id)
                );
            });
        },
    );
    assert!(cuts > 30, "only {cuts} cuts were tried");
}

#[test]
fn top_up_pays_once_wherever_it_was_killed() {
    for state in [PalState::Awake, PalState::Asleep, PalState::Unpaid] {
        let cuts = cut_everywhere(
            || {
                let world = ready();
                world.host.with_pal(|pal| pal.to(state));
                world
            },
            |world| match world.credit.locks().len() {
                // Done before the cut, or never begun: then a person sees the balance and does not repeat it.
                2 if world.credit.pending_cpm() == 0 => Ok(()),
                _ => top_up::run(world.app(), "ada", 100).map(drop),
            },
            |world, length| {
                assert_eq!(known_cpm(world), (400, 600), "{state:?}, cut {length}");
                assert_eq!(world.credit.pending_cpm(), 0);
                world.host.with_pal(|pal| assert_eq!(pal.info.state, PalState::Awake));
            },
        );
        assert!(cuts > 10, "only {cuts} cuts were tried");
    }
}

#[test]
fn a_device_is_added_once_and_its_config_is_never_lost() {
    let add = device::AddWish {
        name: "phone".into(),
        pal: None,
        conf: None,
        qr: None,
        routing: Routing::ThroughPal,
    };
    let cuts = cut_everywhere(
        ready,
        |world| device::add(world.app(), &add),
        |world, length| {
            let shown = device::add(world.app(), &add).unwrap().json;
            assert_eq!(shown["added"], false, "cut {length}");
            let conf = std::fs::read_to_string(shown["conf"].as_str().unwrap()).unwrap();
            let conf = ClientConf::parse(&conf).unwrap();
            world.host.with_pal(|pal| {
                let roster = pal.roster.clone().unwrap();
                assert_eq!(roster.devices.len(), 1);
                let key = cloudpal_core::AgreementSecret::from_secret(&conf.private_key).public();
                assert_eq!(roster.devices[0].wireguard, key);
                assert_eq!(conf.pal, pal.info.keys.unwrap().wireguard);
                assert_eq!(conf.device, roster.devices[0].addresses());
            });
        },
    );
    assert!(cuts > 10, "only {cuts} cuts were tried");
}

#[test]
fn deleting_takes_credit_back_wherever_it_was_killed() {
    for state in [PalState::Awake, PalState::Asleep, PalState::Unpaid] {
        let cuts = cut_everywhere(
            || {
                let world = ready();
                world.host.with_pal(|pal| pal.to(state));
                world
            },
            |world| match world.person.pals().unwrap().is_empty() {
                true => Ok(()),
                false => delete::run(world.app(), "ada", Consent::Given).map(drop),
            },
            |world, length| {
                assert!(world.host.state().pals.is_empty() && world.host.state().deleted.len() == 1);
                // The host keeps the first step: one ticket of 4 cpm.
                assert_eq!(world.credit.free(), 996, "{state:?}, cut {length}");
            },
        );
        assert!(cuts > 10, "only {cuts} cuts were tried");
    }
}

#[test]
fn a_pal_asleep_is_woken_for_what_only_it_can_do() {
    let world = ready();
    pals::sleep(world.app(), None).unwrap();
    world.host.with_pal(|pal| assert_eq!(pal.info.state, PalState::Asleep));
    pals::unlock(world.app(), Some("ada")).unwrap();
    world.host.with_pal(|pal| assert_eq!((pal.info.wakes, pal.unlocks), (1, 2)));
}

#[test]
fn without_enough_credit_nothing_is_begun() {
    let world = World::with_credit(100);
    let failure = create::run(world.app(), &wish(&world)).unwrap_err();
    assert_eq!(failure.exit(), Exit::Refused, "{failure}");
    assert!(world.person.pals().unwrap().is_empty() && world.host.state().pals.is_empty());
    assert_eq!(world.credit.free(), 100);
}
