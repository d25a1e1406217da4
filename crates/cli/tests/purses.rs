//! The real purse against a real seller, as the commands use it.

// Helpers of tests, too, fail by panicking.
#![allow(clippy::unwrap_used)]

use cloudpal_cli::credit::{Credit, CreditError, LockWish, Purses};
use cloudpal_cli::person::{Person, PersonError};
use cloudpal_core::{PalId, Secret, SeedPhrase};
use std::path::Path;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

const PAL: PalId = PalId::from_random([5; 16]);
/// The generator of secp256k1: the point of key 1.
const TILL: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

struct Shop {
    runtime: Runtime,
    state: cloudpal_mint::State,
    service: Option<cloudpal_mint::Service>,
    dir: TempDir,
}

impl Shop {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let state = cloudpal_mint::State::init(&dir.path().join("mint")).unwrap();
        let start = cloudpal_mint::Service::start(&state, "127.0.0.1:0".parse().unwrap());
        let service = Some(runtime.block_on(start).unwrap());
        Shop { runtime, state, service, dir }
    }

    fn url(&self) -> String {
        self.service.as_ref().unwrap().url().to_owned()
    }

    fn voucher(&self, cpm: u64) -> Zeroizing<String> {
        Zeroizing::new(self.state.ledger().unwrap().print(cpm).unwrap().reveal())
    }

    fn close(&mut self) {
        self.runtime.block_on(self.service.take().unwrap().stop());
    }
}

fn person(dir: &Path, name: &str) -> Person {
    let person = Person::at(dir.join(name));
    let _locked = person.lock().unwrap();
    let phrase = SeedPhrase::from_entropy(&Secret::new([3; 32]));
    person.set_up(&phrase, || Ok::<_, PersonError>(())).unwrap();
    person
}

#[test]
fn credit_is_bought_locked_once_and_found_again() {
    let mut shop = Shop::open();
    let (mint, ada) = (shop.url(), person(shop.dir.path(), "ada"));
    let purses = Purses::of(&ada);
    let voucher = shop.voucher(500);
    assert_eq!(purses.buy(&mint, &voucher).unwrap(), 500);
    assert_eq!(purses.buy(&mint, &voucher).unwrap(), 0, "a voucher pays once");
    let purpose = format!("create {PAL}");
    let wish = |amount_cpm| LockWish {
        purpose: &purpose,
        mint: &mint,
        amount_cpm,
        till: TILL,
        locktime_unix: 4_000_000_000,
    };
    assert!(matches!(purses.lock(&wish(501)), Err(CreditError::Short { wanted: 501, have: 500, .. })));

    let locked = purses.lock(&wish(200)).unwrap();
    assert_eq!(locked.cpm(), 200);
    let again = purses.lock(&wish(200)).unwrap();
    let texts = |locked: &cloudpal_cli::credit::Locked| {
        locked.tickets.iter().map(|one| one.text.clone()).collect::<Vec<_>>()
    };
    assert_eq!(texts(&locked), texts(&again), "asked twice, locked once");
    assert!(purses.pending(&mint, &format!("top-up {PAL}")).unwrap().is_none());
    let balance = &purses.balances().unwrap()[0];
    assert_eq!((balance.free_cpm, balance.locked_cpm, &balance.mint), (300, 200, &mint));

    purses.handed_over(&locked).unwrap();
    assert!(purses.pending(&mint, &purpose).unwrap().is_none());
    assert_eq!(purses.outstanding(&mint, PAL).unwrap().len(), locked.tickets.len());
    assert!(purses.outstanding(&mint, PalId::from_random([6; 16])).unwrap().is_empty());
    assert_eq!(purses.reclaim(&mint).unwrap(), 0, "its locktime is far away");
    let signatures = vec!["00".repeat(64); locked.tickets.len()];
    let forged = purses.take_back(&mint, &texts(&locked), &signatures);
    assert!(matches!(forged, Err(CreditError::Refused(..))), "{forged:?}");

    // The same words on another device.
    let copy = person(shop.dir.path(), "copy");
    assert_eq!(Purses::of(&copy).recover(&mint).unwrap(), 300);
    shop.close();
}

#[test]
fn a_silent_seller_costs_nothing() {
    let mut shop = Shop::open();
    let (mint, ada) = (shop.url(), person(shop.dir.path(), "ada"));
    let purses = Purses::of(&ada);
    let (first, second) = (shop.voucher(100), shop.voucher(7));
    purses.buy(&mint, &first).unwrap();
    shop.close();
    let purpose = format!("create {PAL}");
    let wish =
        LockWish { purpose: &purpose, mint: &mint, amount_cpm: 50, till: TILL, locktime_unix: 4_000_000_000 };
    assert!(matches!(purses.lock(&wish), Err(CreditError::Unreachable { .. })));
    assert!(matches!(purses.buy(&mint, &second), Err(CreditError::Unreachable { .. })));
    assert!(purses.balances().unwrap()[0].free_cpm <= 100);

    let again = cloudpal_mint::Service::start(&shop.state, mint["http://".len()..].parse().unwrap());
    shop.service = Some(shop.runtime.block_on(again).unwrap());
    assert_eq!(purses.recover(&mint).unwrap(), 107);
    assert_eq!(purses.lock(&wish).unwrap().cpm(), 50);
    shop.close();
}

#[test]
fn a_code_with_a_typing_mistake_never_leaves_this_device() {
    let dir = tempfile::tempdir().unwrap();
    let ada = person(dir.path(), "ada");
    let wrong = Purses::of(&ada).buy("http://127.0.0.1:9", &Zeroizing::new("CPM5-ABC".into()));
    assert!(matches!(wrong, Err(CreditError::Voucher(_))));
    assert!(Purses::of(&ada).balances().unwrap().is_empty());
}
