//! What the commands answer, and how they refuse.

// Helpers of tests, too, fail by panicking.
#![allow(clippy::unwrap_used)]

mod fake;

use cloudpal_cli::command::delete::Consent;
use cloudpal_cli::command::{create, credit, delete, device, pals, receipts, top_up};
use cloudpal_cli::failure::{Exit, Failure};
use cloudpal_core::{Milli, Secret, SigningKey};
use cloudpal_plan::conf::Routing;
use cloudpal_protocol::api::PalState;
use cloudpal_protocol::guest::DataState;
use fake::{MINT, World};
use zeroize::Zeroizing;

fn ready() -> World {
    let world = World::with_credit(1000);
    let wish = create::Wish { at: world.host.url.clone(), name: "ada".into(), credit_cpm: Some(500) };
    create::run(world.app(), &wish).unwrap();
    world
}

fn phone(name: &str) -> device::AddWish {
    device::AddWish { name: name.into(), pal: None, conf: None, qr: None, routing: Routing::ThroughPal }
}

fn refused<T>(result: Result<T, Failure>, exit: Exit, saying: &str) {
    let failure = result.err().expect("it was not refused");
    assert_eq!(failure.exit(), exit, "{failure}");
    assert!(failure.to_string().contains(saying), "\"{failure}\" does not say \"{saying}\"");
}

#[test]
fn creating_twice_makes_one_pal() {
    let world = ready();
    let wish = create::Wish { at: world.host.url.clone(), name: "ada".into(), credit_cpm: Some(500) };
    create::run(world.app(), &wish).unwrap();
    assert_eq!((world.credit.free(), world.host.state().pals.len()), (500, 1));
    let bad = create::Wish { name: "Not a label".into(), ..wish };
    refused(create::run(world.app(), &bad), Exit::Usage, "cannot be a pal's name");
}

#[test]
fn a_host_with_another_key_gets_nothing() {
    let world = ready();
    world.host.state().key = SigningKey::from_secret(&Secret::new([0x41; 32]));
    let before = world.host.with_pal(|pal| pal.unlocks);
    refused(pals::unlock(world.app(), None), Exit::Refused, "another key");
    refused(top_up::run(world.app(), "ada", 10), Exit::Refused, "another key");
    refused(receipts::show(world.app(), None), Exit::Refused, "another key");
    let second = create::Wish { at: world.host.url.clone(), name: "bob".into(), credit_cpm: Some(10) };
    refused(create::run(world.app(), &second), Exit::Refused, "another key");
    assert_eq!(world.host.with_pal(|pal| pal.unlocks), before);
    assert_eq!(world.credit.free(), 500);
}

#[test]
fn a_pal_with_another_key_gets_nothing() {
    let world = ready();
    let keys = world.host.with_pal(|pal| {
        let keys = pal.info.keys.unwrap();
        pal.info.keys.as_mut().unwrap().wireguard = keys.channel;
        keys
    });
    refused(pals::unlock(world.app(), None), Exit::Refused, "other keys");
    // The host names the right keys, but another machine answers.
    world.host.with_pal(|pal| {
        pal.info.keys = Some(keys);
        pal.change_secret(0x51);
    });
    refused(pals::unlock(world.app(), None), Exit::Refused, "do not trust");
    assert_eq!(world.host.with_pal(|pal| pal.unlocks), 1);
}

#[test]
fn prices_that_are_not_the_signed_ones_are_refused() {
    let world = World::with_credit(1000);
    let cheap = { world.host.state().prices.clone() };
    world.host.state().shown = Some(cloudpal_protocol::price::PriceList { awake: Milli(1), ..cheap });
    let wish = create::Wish { at: world.host.url.clone(), name: "ada".into(), credit_cpm: None };
    refused(create::run(world.app(), &wish), Exit::Refused, "other prices than it signs");
    assert!(world.person.pals().unwrap().is_empty());
}

#[test]
fn status_tells_the_account_and_does_not_wake() {
    let world = ready();
    let json = pals::status(world.app(), None).unwrap().json;
    assert_eq!(json["purse_cpm"], 500);
    let ada = &json["pals"][0];
    assert_eq!((&ada["state"], &ada["data"]), (&"awake".into(), &"unlocked".into()));
    assert_eq!((&ada["held_cpm"], &ada["at_host_milli_cpm"]), (&496.into(), &4000.into()));
    assert_eq!(
        (&ada["awake_day_milli_cpm"], &ada["asleep_day_milli_cpm"]),
        (&1_440_000.into(), &7200.into())
    );

    pals::sleep(world.app(), None).unwrap();
    let asleep = pals::status(world.app(), Some("ada")).unwrap();
    assert_eq!(asleep.json["pals"][0]["state"], "asleep");
    assert!(asleep.json["pals"][0]["held_cpm"].is_null());
    assert!(asleep.text.contains("asleep"), "{}", asleep.text);
    assert_eq!(world.host.with_pal(|pal| pal.info.wakes), 0);
    refused(pals::status(world.app(), Some("bob")), Exit::NotFound, "bob");
}

#[test]
fn locking_and_unlocking_reach_the_pal() {
    let world = ready();
    pals::lock(world.app(), None).unwrap();
    world.host.with_pal(|pal| assert_eq!(pal.info.data, Some(DataState::Locked)));
    assert!(world.person.pal(None).unwrap().keep_locked, "an agent would undo it");
    pals::unlock(world.app(), None).unwrap();
    assert!(!world.person.pal(None).unwrap().keep_locked);
    world.host.with_pal(|pal| assert_eq!(pal.info.data, Some(DataState::Unlocked)));
    pals::wake(world.app(), None).unwrap();
    world.host.with_pal(|pal| assert_eq!(pal.info.wakes, 0, "it was awake already"));
}

#[test]
fn devices_come_go_and_come_back() {
    let world = ready();
    let phone_json = device::add(world.app(), &phone("phone")).unwrap().json;
    device::add(world.app(), &phone("laptop")).unwrap();
    let (_, this, _) = device::this(world.app(), None).unwrap();
    assert_eq!(this.name, "this");
    let names = || {
        let json = device::list(world.app(), None).unwrap().json;
        let names =
            json["devices"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(), ["phone", "laptop", "this"]);
    device::remove(world.app(), "phone", None).unwrap();
    assert_eq!(names(), ["laptop", "this"]);
    refused(device::remove(world.app(), "phone", None), Exit::NotFound, "phone");
    device::restore(world.app(), "phone", None).unwrap();
    world.host.with_pal(|pal| {
        let roster = pal.roster.as_ref().unwrap();
        let phone = roster.devices.iter().find(|device| device.name == "phone").unwrap();
        assert_eq!(serde_json::json!(phone.wireguard), phone_json["wireguard"]);
        assert_eq!(serde_json::json!(phone.v4), phone_json["v4"]);
    });
    refused(device::add(world.app(), &phone("home")), Exit::Usage, "cannot be a name");
    refused(device::add(world.app(), &phone("../x")), Exit::Usage, "cannot be a name");
}

#[test]
fn a_config_is_never_written_over_a_file_of_the_persons() {
    let world = ready();
    let path = world.person.dir().join("mine.txt");
    std::fs::write(&path, "dear diary").unwrap();
    let wish = device::AddWish { conf: Some(path.clone()), ..phone("phone") };
    refused(device::add(world.app(), &wish), Exit::WouldLose, "not overwritten");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "dear diary");
    assert_eq!(device::list(world.app(), None).unwrap().json["devices"], serde_json::json!([]));
}

#[test]
fn another_devices_newer_list_is_not_overwritten() {
    let world = ready();
    world.host.with_pal(|pal| pal.roster.as_mut().unwrap().version = 9);
    refused(device::add(world.app(), &phone("phone")), Exit::Refused, "another of your devices");
}

#[test]
fn receipts_are_checked_to_the_last() {
    let world = ready();
    world.host.with_pal(|pal| (pal.info.receipts, pal.info.acknowledged) = (5, 4));
    let shown = receipts::show(world.app(), None).unwrap().json;
    assert_eq!((shown["receipts"].as_array().unwrap().len(), &shown["acknowledged"]), (5, &4.into()));
    let verified = receipts::verify(world.app(), None).unwrap().json;
    assert_eq!((&verified["receipts"], &verified["consumed_milli_cpm"]), (&5.into(), &5000.into()));
    // The host charges twice what it agreed to, and signs that.
    world.host.state().receipt_cost = Milli(2000);
    refused(receipts::verify(world.app(), None), Exit::Refused, "price list allows");
}

#[test]
fn deleting_asks_first() {
    let world = ready();
    refused(delete::run(world.app(), "ada", Consent::Missing), Exit::WouldLose, "--yes");
    assert_eq!(world.host.state().pals.len(), 1);
    let back = delete::run(world.app(), "ada", Consent::Given).unwrap().json;
    assert_eq!((&back["returned_cpm"], world.credit.free()), (&496.into(), 996));
    refused(pals::unlock(world.app(), None), Exit::NotFound, "no pal yet");
}

#[test]
fn reclaiming_leaves_the_pal_but_not_its_credit() {
    let world = ready();
    pals::sleep(world.app(), None).unwrap();
    let back = delete::reclaim(world.app(), None).unwrap().json;
    assert_eq!((&back["returned_cpm"], world.credit.free()), (&496.into(), 996));
    world.host.with_pal(|pal| assert_eq!((pal.held(), pal.info.state), (0, PalState::Awake)));
}

#[test]
fn vouchers_are_taken_or_refused() {
    let world = World::with_credit(0);
    let buy = |voucher: &str| credit::buy(world.app(), MINT, &Zeroizing::new(voucher.to_owned()));
    assert_eq!(buy("GOOD500").unwrap().json["free_cpm"], 500);
    refused(buy("BAD500"), Exit::Refused, "does not know this voucher");
    refused(buy(""), Exit::Usage, "no voucher");
    let elsewhere = credit::buy(world.app(), "not an address", &Zeroizing::new("GOOD1".into()));
    refused(elsewhere, Exit::Usage, "is not a ticket seller's address");
    assert_eq!(credit::balance(world.app()).unwrap().json["free_cpm"], 500);
}

#[test]
fn two_commands_do_not_change_the_folder_at_once() {
    let world = ready();
    let _held = world.person.lock().unwrap();
    refused(device::add(world.app(), &phone("phone")), Exit::Failed, "another cloudpal command");
    device::list(world.app(), None).unwrap();
}
