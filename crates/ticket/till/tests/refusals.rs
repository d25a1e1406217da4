//! What a till takes and what it refuses, each refusal by its own name.

#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

#[path = "../../purse/tests/support/mod.rs"]
mod support;

use cloudpal_purse::LockRequest;
use cloudpal_till::{AcceptError, Fault, MARGIN_SECS, ReturnError, Terms, Ticket, Till, fetch_keysets};
use support::{Dice, MONTH, World, now_unix};

fn tickets(world: &World, till: &Till, amounts: Vec<u64>, locktime_unix: u64) -> Vec<Ticket> {
    let purse = world.purse();
    let total = amounts.iter().sum();
    world.wait(purse.buy(&world.voucher(total), |_| {})).unwrap();
    let till_pubkey = till.public_key();
    let request = LockRequest { amounts, till_pubkey, locktime_unix, host: "dc".into(), pal: "pal".into() };
    world.wait(purse.lock(request)).unwrap()
}

fn fault(till: &Till, tickets: &[Ticket]) -> Fault {
    match till.accept("pal", tickets, &Terms::at(now_unix())).unwrap_err() {
        AcceptError::Ticket { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

#[test]
fn the_same_pal_may_repeat_itself_and_another_may_not() {
    let world = World::new();
    let till = world.till();
    let list = tickets(&world, &till, vec![1, 2, 4, 8], now_unix() + MONTH);
    let terms = Terms::at(now_unix());
    assert_eq!(till.check(&list, &terms).unwrap(), 15);
    assert_eq!(till.held().unwrap(), 0, "checking takes nothing");
    let first = till.accept("pal", &list[..2], &terms).unwrap();
    assert_eq!((first.amount, first.fresh), (3, 3));
    let all = till.accept("pal", &list, &terms).unwrap();
    assert_eq!((all.amount, all.fresh), (15, 12));
    let repeated = till.accept("pal", &list, &terms).unwrap();
    assert_eq!((repeated.amount, repeated.fresh), (15, 0));
    let error = till.accept("other pal", &list[3..], &terms).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ticket 1 of 8 cpm was refused: it has been spent already; none of the list was taken"
    );
    assert_eq!((till.held().unwrap(), till.accepted_from("pal").unwrap()), (15, 15));
    let secret = list[0].secret.clone();
    assert!(matches!(till.sign_return(&[secret]), Err(ReturnError::Spent { number: 1 })));
}

#[test]
fn all_or_nothing() {
    let world = World::new();
    let till = world.till();
    let mut list = tickets(&world, &till, vec![1, 2, 4], now_unix() + MONTH);
    list[2].amount = 8;
    let error = till.accept("pal", &list, &Terms::at(now_unix())).unwrap_err();
    assert!(matches!(error, AcceptError::Ticket { number: 3, amount: 8, fault: Fault::Proof(_) }), "{error}");
    assert_eq!(till.held().unwrap(), 0);
    list[2] = list[1].clone();
    assert!(matches!(fault(&till, &list), Fault::Twice));
}

#[test]
fn changed_tickets_are_refused() {
    let world = World::new();
    let till = world.till();
    let good = tickets(&world, &till, vec![4, 4], now_unix() + MONTH);
    let one = good[0].clone();
    let with = |change: &dyn Fn(&mut Ticket)| {
        let mut ticket = one.clone();
        change(&mut ticket);
        fault(&till, &[ticket])
    };
    assert!(matches!(with(&|t| t.amount = 8), Fault::Proof(_)));
    assert!(matches!(with(&|t| t.amount = 3), Fault::Amount));
    assert!(matches!(with(&|t| t.amount = 0), Fault::Malformed(_)));
    assert!(matches!(with(&|t| t.c = good[1].c.clone()), Fault::Proof(_)));
    assert!(matches!(with(&|t| t.dleq = good[1].dleq.clone()), Fault::Proof(_)));
    assert!(matches!(with(&|t| t.dleq.r = good[1].dleq.r.clone()), Fault::Proof(_)));
    assert!(matches!(with(&|t| t.dleq.e = "0".repeat(64)), Fault::Malformed(_)));
    assert!(matches!(with(&|t| t.keyset = "00ffffffffffffff".into()), Fault::ForeignMint));
    assert!(matches!(with(&|t| t.keyset = "nonsense".into()), Fault::Malformed(_)));
    assert!(matches!(with(&|t| t.secret = "plain".into()), Fault::Form(_)));
    let nonce_at = one.secret.find("\"nonce\":\"").unwrap() + 9;
    let other_nonce = |t: &mut Ticket| {
        let letter = if &t.secret[nonce_at..=nonce_at] == "0" { "1" } else { "0" };
        t.secret.replace_range(nonce_at..=nonce_at, letter);
    };
    assert!(matches!(with(&other_nonce), Fault::Proof(_)));
    assert!(matches!(with(&|t| t.secret = t.secret.replace("SIG_INPUTS", "SIG_ALL")), Fault::Form(_)));
    assert_eq!(till.accept("pal", std::slice::from_ref(&one), &Terms::at(now_unix())).unwrap().fresh, 4);
}

#[test]
fn foreign_tills_sellers_and_short_locks_are_refused() {
    let world = World::new();
    let till = world.till();
    let soon = now_unix() + MARGIN_SECS - 60;
    let short = tickets(&world, &till, vec![1], soon);
    assert!(matches!(fault(&till, &short), Fault::Locktime { .. }));
    let patient = Terms { now_unix: now_unix(), margin_secs: 3_600 };
    assert_eq!(till.accept("pal", &short, &patient).unwrap().fresh, 1);

    let other = world.till_in("other till");
    let theirs = tickets(&world, &other, vec![1], now_unix() + MONTH);
    assert!(matches!(fault(&till, &theirs), Fault::ForeignLock));
    let secret = theirs[0].secret.clone();
    assert!(matches!(till.sign_return(&[secret]), Err(ReturnError::ForeignLock { number: 1 })));
    assert!(matches!(till.sign_return(&["sign this".into()]), Err(ReturnError::Form { .. })));

    let elsewhere = World::new();
    let foreign = tickets(&elsewhere, &till, vec![1], now_unix() + MONTH);
    assert!(matches!(fault(&till, &foreign), Fault::ForeignMint));
    let mine = tickets(&world, &till, vec![1], now_unix() + MONTH);
    till.trust(elsewhere.url(), &fetch_keysets(elsewhere.url()).unwrap()).unwrap();
    assert_eq!(till.accept("pal", &[foreign, mine].concat(), &Terms::at(now_unix())).unwrap().fresh, 2);
    assert_eq!(till.sellers().unwrap().len(), 2);
    let swapped = till.trust(world.url(), &fetch_keysets(elsewhere.url()).unwrap());
    assert!(swapped.is_err(), "one keyset cannot belong to two sellers");
}

#[test]
fn what_is_held_survives_reopening_and_racing_pals_give_one_winner() {
    let world = World::new();
    let till = world.till();
    let list = tickets(&world, &till, vec![1; 8], now_unix() + MONTH);
    let won: usize = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|pal| {
                let (till, list) = (&till, &list);
                scope.spawn(move || till.accept(&format!("pal {pal}"), list, &Terms::at(now_unix())).is_ok())
            })
            .collect();
        racers.into_iter().map(|racer| usize::from(racer.join().unwrap())).sum()
    });
    assert_eq!(won, 1);
    let key = till.public_key();
    drop(till);
    let till = world.till();
    assert_eq!((till.public_key(), till.held().unwrap()), (key, 8));
    assert_eq!(till.redeem_by().unwrap(), Some(list[0].lock().unwrap().locktime_unix));
}

#[test]
fn random_damage_never_gets_in_and_never_panics() {
    let world = World::new();
    let till = world.till();
    let list = tickets(&world, &till, vec![1; 4], now_unix() + MONTH);
    let bytes = Ticket::write_list(&list);
    let mut dice = Dice::new(0xf0f0);
    let mut parsed = 0;
    for _ in 0..3_000 {
        let mut damaged = bytes.clone();
        for _ in 0..=dice.below(2) {
            let place = dice.below(damaged.len() as u64) as usize;
            damaged[place] = match dice.below(3) {
                0 => dice.below(256) as u8,
                1 => b"0123456789abcdef\"{}[],:"[dice.below(23) as usize],
                _ => damaged[dice.below(damaged.len() as u64) as usize],
            };
        }
        if damaged == bytes {
            continue;
        }
        let Ok(damaged) = Ticket::parse_list(&damaged) else { continue };
        parsed += 1;
        if damaged != list {
            assert!(till.check(&damaged, &Terms::at(now_unix())).is_err());
        }
    }
    println!("{parsed} damaged lists were still well formed");
    assert!(parsed > 100);
}
