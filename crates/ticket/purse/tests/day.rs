//! A purse's life with a real mint and a real till: buy, lock, pay, take back, lose everything.

#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod support;

use cloudpal_purse::{
    BuyError, Leave, LockError, LockRequest, OpenError, Purse, ReclaimError, Ticket, step_amounts,
};
use cloudpal_till::{Route, Seller, Terms, Till};
use support::{MONTH, SEED, World, bytes_in, now_unix};

fn request(till: &Till, amounts: Vec<u64>, locktime_unix: u64) -> LockRequest {
    LockRequest {
        amounts,
        till_pubkey: till.public_key(),
        locktime_unix,
        host: "dc".into(),
        pal: "pal".into(),
    }
}

fn worth(tickets: &[Ticket]) -> u64 {
    tickets.iter().map(|ticket| ticket.amount).sum()
}

fn ids(tickets: &[Ticket]) -> Vec<String> {
    tickets.iter().map(|ticket| ticket.y().unwrap()).collect()
}

#[test]
fn buy_lock_pay_redeem_and_everything_adds_up() {
    let world = World::new();
    let (purse, till) = (world.purse(), world.till());
    let code = world.voucher(500);
    let bought = world.wait(purse.buy(&code, |_| {})).unwrap();
    assert_eq!((bought.amount, bought.fresh), (500, 500));
    let again = world.wait(purse.buy(&code, |_| {})).unwrap();
    assert_eq!((again.amount, again.fresh), (500, 0));
    assert_eq!(world.wait(purse.balance()).unwrap(), 500);

    let tickets = world.wait(purse.lock(request(&till, step_amounts(200), now_unix() + MONTH))).unwrap();
    assert_eq!(worth(&tickets), 200);
    assert_eq!(world.wait(purse.balance()).unwrap(), 300);
    assert_eq!(world.wait(purse.unfinished()).unwrap().len(), tickets.len());

    let accepted = till.accept("pal", &tickets, &Terms::at(now_unix())).unwrap();
    assert_eq!((accepted.amount, accepted.fresh), (200, 200));
    world.wait(purse.handed_over(&ids(&tickets))).unwrap();
    assert!(world.wait(purse.unfinished()).unwrap().is_empty());

    let seller = Seller::new(world.url(), &Route::Direct).unwrap();
    assert_eq!(till.redeem(&seller).unwrap().amount, 200);
    assert_eq!(till.redeem(&seller).unwrap().amount, 0);
    let totals = till.totals().unwrap();
    assert_eq!((totals.held, totals.redeemed, totals.own), (0, 200, 200));
    assert_eq!(world.outstanding(), 300 + 200);
}

#[test]
fn neither_voucher_nor_purchase_proof_stays_behind_and_the_swap_before_locking_is_real() {
    let world = World::new();
    let (purse, till) = (world.purse(), world.till());
    let code = world.voucher(64);
    world.wait(purse.buy(&code, |_| {})).unwrap();
    let stored = bytes_in(&world.path("purse"));
    let group = &code.as_bytes()[8..18];
    assert!(!stored.windows(group.len()).any(|window| window == group), "the code is gone after buying");
    assert!(!stored.windows(6).any(|window| window == b"\"dleq\""), "no DLEQ proof is kept");
    let tickets = world.wait(purse.lock(request(&till, vec![64], now_unix() + MONTH))).unwrap();
    assert_eq!(tickets[0].lock().unwrap().to.to_hex(), till.public_key());
}

#[test]
fn what_is_not_accepted_comes_back_by_the_tills_leave() {
    let world = World::new();
    let (purse, till) = (world.purse(), world.till());
    world.wait(purse.buy(&world.voucher(100), |_| {})).unwrap();
    let tickets = world.wait(purse.lock(request(&till, step_amounts(100), now_unix() + MONTH))).unwrap();
    let (spent, rest) = tickets.split_at(10);
    till.accept("pal", spent, &Terms::at(now_unix())).unwrap();

    let early = world.wait(purse.reclaim(rest, Leave::Locktime));
    assert!(matches!(early, Err(ReclaimError::TooEarly { number: 1, .. })), "{early:?}");
    let secrets: Vec<String> = rest.iter().map(|ticket| ticket.secret.clone()).collect();
    let leave = till.sign_return(&secrets).unwrap();
    assert_eq!(till.sign_return(&secrets).unwrap().len(), leave.len(), "asking again is no harm");
    let missing = world.wait(purse.reclaim(&tickets, Leave::Signed(leave.clone())));
    assert!(matches!(missing, Err(ReclaimError::Signature { number: 1 })), "{missing:?}");

    let back = world.wait(purse.reclaim(rest, Leave::Signed(leave.clone()))).unwrap();
    assert_eq!((back.amount, back.gone), (90, 0));
    let twice = world.wait(purse.reclaim(rest, Leave::Signed(leave))).unwrap();
    assert_eq!((twice.amount, twice.gone), (0, 0));
    assert_eq!(world.wait(purse.balance()).unwrap(), 90);
    assert_eq!(world.outstanding(), 90 + till.held().unwrap());
    let refused = till.accept("pal", rest, &Terms::at(now_unix()));
    assert!(refused.unwrap_err().to_string().contains("given back"));
}

#[test]
fn after_the_locktime_the_owner_needs_nobody() {
    let world = World::new();
    let (purse, till) = (world.purse(), world.till());
    world.wait(purse.buy(&world.voucher(40), |_| {})).unwrap();
    let until = now_unix() + 2;
    let tickets = world.wait(purse.lock(request(&till, vec![1, 1, 2, 4, 8], until))).unwrap();
    let soon = Terms { now_unix: now_unix() - 10, margin_secs: 0 };
    till.accept("pal", &tickets, &soon).unwrap();
    while now_unix() <= until {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let back = world.wait(purse.reclaim(&tickets, Leave::Locktime)).unwrap();
    assert_eq!((back.amount, back.gone), (16, 0));
    assert_eq!(world.wait(purse.balance()).unwrap(), 40);

    let seller = Seller::new(world.url(), &Route::Direct).unwrap();
    let late = till.redeem(&seller).unwrap();
    assert_eq!((late.amount, late.expired), (0, 16), "a till that redeems too late is told so");
    assert_eq!(till.totals().unwrap().held, 0);
    assert_eq!(world.outstanding(), 40);
}

#[test]
fn seed_words_alone_bring_everything_back() {
    let world = World::new();
    let (purse, till) = (world.purse(), world.till());
    let until = now_unix() + MONTH;
    world.wait(purse.buy(&world.voucher(333), |_| {})).unwrap();
    let tickets = world.wait(purse.lock(request(&till, step_amounts(80), until))).unwrap();
    drop(purse);

    let fresh = world.purse_in("purse after the fire");
    assert_eq!(world.wait(fresh.balance()).unwrap(), 0);
    assert_eq!(world.wait(fresh.recover()).unwrap().restored, 253);
    assert_eq!(world.wait(fresh.recover()).unwrap().restored, 0);
    assert_eq!(world.wait(fresh.balance()).unwrap(), 253);

    let mut again = world.wait(fresh.restore_locked(&till.public_key(), until, "dc", "pal")).unwrap();
    let mut before = tickets.clone();
    before.sort_by(|a, b| a.secret.cmp(&b.secret));
    again.sort_by(|a, b| a.secret.cmp(&b.secret));
    assert_eq!(again, before);

    // A third folder locks to the same till and time without recovering first: no secret is used twice.
    let third = world.purse_in("third folder");
    let more = world.wait(third.lock(request(&till, step_amounts(80), until))).unwrap();
    assert!(more.iter().all(|ticket| tickets.iter().all(|old| old.secret != ticket.secret)));
    till.accept("pal", &tickets, &Terms::at(now_unix())).unwrap();
    till.accept("pal", &more, &Terms::at(now_unix())).unwrap();
    let seller = Seller::new(world.url(), &Route::Direct).unwrap();
    assert_eq!(till.redeem(&seller).unwrap().amount, 160);
    assert_eq!(world.outstanding(), 333);
}

#[test]
fn a_purse_burnt_between_paying_and_fetching_is_made_good_by_the_voucher() {
    let world = World::new();
    let code = world.voucher(70);
    let purse = Purse::open(&world.path("burnt"), world.url(), &[1; 64]).unwrap();
    world.wait(purse.recover()).unwrap();
    // The quote is heard, the answer to paying is not.
    world.proxy.cut_after(1, support::Lost::Reply);
    assert!(world.wait(purse.buy(&code, |_| {})).is_err());
    world.proxy.heal();
    assert_eq!(world.outstanding(), 0);
    let other = Purse::open(&world.path("new"), world.url(), &[2; 64]).unwrap();
    assert_eq!(world.wait(other.buy(&code, |_| {})).unwrap().fresh, 70);
    assert_eq!(world.outstanding(), 70);
    let late = world.wait(purse.buy(&code, |_| {}));
    assert!(matches!(late, Err(BuyError::Refused(_))), "it pays once: {late:?}");
    assert_eq!(world.wait(purse.check_pending()).unwrap(), 0, "and the purse does not try for ever");
    assert_eq!(world.wait(purse.balance()).unwrap(), 0);
}

#[test]
fn two_folders_of_the_same_seed_words_lose_nothing() {
    let world = World::new();
    let till = world.till();
    let (laptop, desktop) = (world.purse_in("laptop"), world.purse_in("desktop"));
    let month = now_unix() + MONTH;
    for purse in [&laptop, &desktop] {
        world.wait(purse.recover()).unwrap();
    }
    let mut locked = 0;
    for (round, purse) in [&laptop, &desktop, &laptop, &laptop, &desktop, &laptop].into_iter().enumerate() {
        let code = world.voucher(40);
        world.wait(purse.buy(&code, |_| {})).unwrap();
        let until = month + round as u64 % 2;
        let tickets = world.wait(purse.lock(request(&till, step_amounts(10), until))).unwrap();
        locked += till.accept("pal", &tickets, &Terms::at(now_unix())).unwrap().fresh;
    }
    assert_eq!(locked, 60);
    let seller = Seller::new(world.url(), &Route::Direct).unwrap();
    assert_eq!(till.redeem(&seller).unwrap().amount, 60);
    assert_eq!(world.outstanding(), 240);
    let fresh = world.purse_in("third");
    world.wait(fresh.recover()).unwrap();
    assert_eq!(world.wait(fresh.balance()).unwrap(), 180);
}

#[test]
fn two_programs_on_one_folder_take_turns() {
    let world = World::new();
    let till = world.till();
    let (one, two) = (world.purse(), world.purse());
    let codes: Vec<String> = (0..6).map(|_| world.voucher(20)).collect();
    world.wait(async {
        let buys: Vec<_> = codes
            .into_iter()
            .zip([&one, &two].into_iter().cycle().cloned())
            .map(|(code, purse)| tokio::spawn(async move { purse.buy(&code, |_| {}).await.unwrap().fresh }))
            .collect();
        for buy in buys {
            assert_eq!(buy.await.unwrap(), 20);
        }
    });
    let month = now_unix() + MONTH;
    let (a, b) = world.wait(async {
        tokio::join!(
            one.lock(request(&till, step_amounts(50), month)),
            two.lock(request(&till, step_amounts(50), month))
        )
    });
    let both = [a.unwrap(), b.unwrap()].concat();
    assert_eq!(till.accept("pal", &both, &Terms::at(now_unix())).unwrap().fresh, 100);
    assert_eq!(world.wait(one.balance()).unwrap(), 20);
    assert_eq!(world.outstanding(), 120);
}

#[test]
fn two_programs_on_one_till_redeem_and_settle_once() {
    let world = World::new();
    let (purse, till) = (world.purse(), world.till());
    world.wait(purse.buy(&world.voucher(120), |_| {})).unwrap();
    let seller = Seller::new(world.url(), &Route::Direct).unwrap();
    for round in 1..=3 {
        let tickets = world.wait(purse.lock(request(&till, step_amounts(40), now_unix() + MONTH))).unwrap();
        till.accept("pal", &tickets, &Terms::at(now_unix())).unwrap();
        let redeemed: u64 = std::thread::scope(|scope| {
            let programs: Vec<_> = (0..3).map(|_| Till::open(&world.path("till")).unwrap()).collect();
            let seller = &seller;
            let running: Vec<_> = programs
                .into_iter()
                .map(|till| scope.spawn(move || (till.redeem(seller).unwrap(), till.settle(seller, "dc"))))
                .collect();
            running
                .into_iter()
                .map(|one| {
                    let (redeemed, settled) = one.join().unwrap();
                    settled.unwrap();
                    assert_eq!(redeemed.expired, 0);
                    redeemed.amount
                })
                .sum()
        });
        assert_eq!(redeemed, 40);
        let totals = till.totals().unwrap();
        assert_eq!((totals.held, totals.own, totals.settled), (0, 0, round * 40));
    }
    assert_eq!(world.outstanding(), 0);
}

#[test]
fn a_rotation_leaves_balance_and_locked_tickets_good() {
    let mut world = World::new();
    let (purse, till) = (world.purse(), world.till());
    world.wait(purse.buy(&world.voucher(64), |_| {})).unwrap();
    let tickets = world.wait(purse.lock(request(&till, step_amounts(24), now_unix() + MONTH))).unwrap();
    let service = world.service.take().unwrap();
    world.wait(service.stop());
    world.wait(cloudpal_mint::rotate(&world.state, None)).unwrap();
    let again = cloudpal_mint::Service::start(&world.state, world.proxy.target);
    world.service = Some(world.wait(again).unwrap());

    assert_eq!(till.accept("pal", &tickets, &Terms::at(now_unix())).unwrap().fresh, 24);
    world.wait(purse.recover()).unwrap();
    assert_eq!(world.wait(purse.balance()).unwrap(), 40);
    let newer = world.wait(purse.lock(request(&till, step_amounts(8), now_unix() + MONTH))).unwrap();
    let unknown = till.accept("pal", &newer, &Terms::at(now_unix())).unwrap_err();
    assert!(unknown.to_string().contains("does not trust"), "{unknown}");
    let till = world.till();
    assert_eq!(till.accept("pal", &newer, &Terms::at(now_unix())).unwrap().fresh, 8);
    let seller = Seller::new(world.url(), &Route::Direct).unwrap();
    assert_eq!(till.redeem(&seller).unwrap().amount, 32);
    assert_eq!(world.outstanding(), 64);
}

#[test]
fn mistakes_are_named_and_cost_nothing() {
    let world = World::new();
    let (purse, till) = (world.purse(), world.till());
    let code = world.voucher(8);
    assert!(matches!(world.wait(purse.buy("CPM8-AAAA", |_| {})), Err(BuyError::Voucher(_))));
    let foreign = cloudpal_purse::Voucher::new(8, [3; 16]).unwrap().reveal();
    assert!(matches!(world.wait(purse.buy(&foreign, |_| {})), Err(BuyError::Refused(_))));
    world.wait(purse.buy(&code, |_| {})).unwrap();
    let other = Purse::open(&world.path("other"), world.url(), &[1; 64]).unwrap();
    assert!(matches!(world.wait(other.buy(&code, |_| {})), Err(BuyError::Refused(_))));

    let month = now_unix() + MONTH;
    let poor = world.wait(purse.lock(request(&till, vec![8, 1], month)));
    assert!(matches!(poor, Err(LockError::TooLittle { balance: 8, asked: 9 })), "{poor:?}");
    assert!(matches!(world.wait(purse.lock(request(&till, vec![], month))), Err(LockError::Amounts)));
    let mut wrong = request(&till, vec![8], month);
    wrong.till_pubkey = "02zz".into();
    assert!(matches!(world.wait(purse.lock(wrong)), Err(LockError::Key)));
    assert!(world.wait(purse.lock(request(&till, vec![3], month))).is_err(), "no ticket of 3");

    let tickets = world.wait(purse.lock(request(&till, vec![8], month))).unwrap();
    let theirs = world.wait(other.reclaim(&tickets, Leave::Locktime));
    assert!(matches!(theirs, Err(ReclaimError::NotOurs { number: 1 })));
    assert!(matches!(Purse::open(&world.path("purse"), world.url(), &[9; 64]), Err(OpenError::WrongSeed(_))));
    assert!(matches!(
        Purse::open(&world.path("purse"), "http://127.0.0.1:1", &SEED),
        Err(OpenError::OtherSeller { .. })
    ));
    assert_eq!(world.outstanding(), 8);
}
