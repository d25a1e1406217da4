//! The program as people run it: init, serve, print vouchers, buy, kill, count.

#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cloudpal_form::{Blank, Keyset, Route, Seller, SellerError, Voucher, exchange, issue};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cloudpal-mint");
const SEED: [u8; 64] = [0x42; 64];

struct Serving {
    child: Child,
    url: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(dir: &Path, words: &[&str]) -> Output {
    Command::new(PROGRAM).arg("--state").arg(dir).args(words).output().unwrap()
}

fn serve(dir: &Path) -> Serving {
    let _ = std::fs::remove_file(dir.join("ready"));
    let mut child = Command::new(PROGRAM)
        .arg("--state")
        .arg(dir)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    loop {
        if let Ok(text) = std::fs::read_to_string(dir.join("ready")) {
            let ready: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(ready["unit"], "cpm");
            return Serving { child, url: ready["url"].as_str().unwrap().to_owned() };
        }
        assert!(child.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn voucher(dir: &Path, amount: u64) -> Voucher {
    let out = run(dir, &["voucher", &amount.to_string(), "--json"]);
    assert!(out.status.success());
    let printed: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    Voucher::parse(printed["vouchers"][0].as_str().unwrap()).unwrap()
}

fn totals(dir: &Path) -> (u64, u64, u64) {
    let out = run(dir, &["totals", "--json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let totals: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let sum = |name: &str| {
        totals["keysets"].as_array().unwrap().iter().map(|keyset| keyset[name].as_u64().unwrap()).sum()
    };
    (sum("issued"), sum("spent"), sum("outstanding"))
}

fn blanks(keyset: &Keyset, from: u32, amount: u64) -> Vec<Blank> {
    let parts = keyset.split(amount).unwrap();
    (from..).zip(parts).map(|(n, part)| Blank::plain(&SEED, keyset.id(), n, part).unwrap()).collect()
}

#[test]
fn vouchers_become_tickets_once_and_totals_add_up_across_kills() {
    let dir = tempfile::tempdir().unwrap();
    let dir = &dir.path().join("mint");
    assert!(run(dir, &["init"]).status.success());
    let mut serving = serve(dir);
    let code = voucher(dir, 500);

    let seller = Seller::new(&serving.url, &Route::Direct).unwrap();
    let keysets = seller.keysets().unwrap();
    let [keyset] = keysets.as_slice() else { panic!("one keyset") };
    assert!(keyset.is_active());
    let quote = seller.quote(500).unwrap();
    assert_eq!(quote.amount_paid, 0);
    let bought = blanks(keyset, 0, 500);
    assert!(issue(&seller, &keysets, &quote.id, &bought).is_err(), "an unpaid quote gives nothing");

    assert_eq!(seller.pay(&quote.id, &code).unwrap().amount_paid, 500);
    serving.child.kill().unwrap();
    serving.child.wait().unwrap();
    let mut serving = serve(dir);
    let seller = Seller::new(&serving.url, &Route::Direct).unwrap();
    assert_eq!(seller.pay(&quote.id, &code).unwrap().amount_paid, 500, "paying again changes nothing");

    let proofs = issue(&seller, &keysets, &quote.id, &bought).unwrap();
    assert_eq!(totals(dir), (500, 0, 500));
    serving.child.kill().unwrap();
    serving.child.wait().unwrap();
    let serving = serve(dir);
    let seller = Seller::new(&serving.url, &Route::Direct).unwrap();
    assert_eq!(seller.keysets().unwrap(), keysets, "the keyset is stable");
    let again = issue(&seller, &keysets, &quote.id, &bought).unwrap();
    assert_eq!(again, proofs, "a lost reply is restored, DLEQ included");

    let other = seller.quote(500).unwrap();
    let used = seller.pay(&other.id, &code).unwrap_err();
    assert!(matches!(used, SellerError::Refused { code: 21_004, .. }), "{used}");

    let clean = blanks(keyset, 100, 500);
    let first = exchange(&seller, &keysets, &proofs, &clean).unwrap();
    let repeated = exchange(&seller, &keysets, &proofs, &clean).unwrap();
    assert_eq!(first, repeated, "an exchange is idempotent");
    assert_eq!(totals(dir), (1000, 500, 500));
}

#[test]
fn wrong_codes_are_refused_by_name_and_slowed_down() {
    let dir = tempfile::tempdir().unwrap();
    let dir = &dir.path().join("mint");
    assert!(run(dir, &["init"]).status.success());
    let serving = serve(dir);
    let seller = Seller::new(&serving.url, &Route::Direct).unwrap();
    let quote = seller.quote(5).unwrap();
    let refused = |voucher: &Voucher| match seller.pay(&quote.id, voucher).unwrap_err() {
        SellerError::Refused { code, .. } => code,
        other => panic!("{other}"),
    };
    assert_eq!(refused(&voucher(dir, 6)), 21_006);
    for n in 0..20 {
        assert_eq!(refused(&Voucher::new(5, [n; 16]).unwrap()), 21_003);
    }
    assert_eq!(refused(&Voucher::new(5, [99; 16]).unwrap()), 21_007);
}

#[test]
fn a_settlement_gives_one_signed_note() {
    let dir = tempfile::tempdir().unwrap();
    let dir = &dir.path().join("mint");
    assert!(run(dir, &["init"]).status.success());
    let serving = serve(dir);
    let seller = Seller::new(&serving.url, &Route::Direct).unwrap();
    let keysets = seller.keysets().unwrap();
    let quote = seller.quote(64).unwrap();
    seller.pay(&quote.id, &voucher(dir, 64)).unwrap();
    let proofs = issue(&seller, &keysets, &quote.id, &blanks(&keysets[0], 0, 64)).unwrap();

    let post = |path: &str, body: serde_json::Value| -> serde_json::Value {
        let mut reply = ureq::post(format!("{}{path}", serving.url))
            .config()
            .http_status_as_error(false)
            .build()
            .header("Prefer", "respond-async")
            .send_json(body)
            .unwrap();
        let text = reply.body_mut().read_to_string().unwrap();
        println!("{path}: {text}");
        serde_json::from_str(&text).unwrap()
    };
    let asked = serde_json::json!({ "request": "dc-berlin-1", "unit": "cpm", "amount": 64 });
    let melt = post("/v1/melt/quote/dc-settle", asked);
    let id = melt["quote"].as_str().unwrap().to_owned();
    post("/v1/melt/dc-settle", serde_json::json!({ "quote": id, "inputs": proofs }));
    let start = Instant::now();
    let note = loop {
        let mut reply = ureq::get(format!("{}/v1/melt/quote/dc-settle/{id}", serving.url)).call().unwrap();
        let state: serde_json::Value = reply.body_mut().read_json().unwrap();
        if state["state"] == "PAID" {
            println!("{state}");
            break state["payment_preimage"].as_str().unwrap().to_owned();
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{state}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let note: cloudpal_mint::SignedNote = serde_json::from_str(&note).unwrap();
    let note = note.open().expect("the signature holds");
    assert_eq!((note.account.as_str(), note.amount, note.quote), ("dc-berlin-1", 64, id));
    assert_eq!(totals(dir), (64, 64, 0));
}

#[test]
fn after_a_rotation_old_tickets_still_swap_into_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let dir = &dir.path().join("mint");
    assert!(run(dir, &["init"]).status.success());
    let serving = serve(dir);
    let seller = Seller::new(&serving.url, &Route::Direct).unwrap();
    let old = seller.keysets().unwrap();
    let quote = seller.quote(9).unwrap();
    seller.pay(&quote.id, &voucher(dir, 9)).unwrap();
    let proofs = issue(&seller, &old, &quote.id, &blanks(&old[0], 0, 9)).unwrap();
    assert_eq!(run(dir, &["rotate"]).status.code(), Some(4), "not while serving");
    drop(serving);

    assert!(run(dir, &["rotate", "--lifetime", "90"]).status.success());
    let serving = serve(dir);
    let seller = Seller::new(&serving.url, &Route::Direct).unwrap();
    let keysets = seller.keysets().unwrap();
    assert_eq!(keysets.len(), 2);
    let new = keysets.iter().find(|keyset| keyset.is_active()).unwrap();
    assert!(new.id() != old[0].id() && new.final_expiry_unix().is_some());
    let swapped = exchange(&seller, &keysets, &proofs, &blanks(new, 0, 9)).unwrap();
    assert!(swapped.iter().all(|proof| proof.keyset_id == new.id()));
    assert_eq!(totals(dir), (18, 9, 9));
}

#[test]
fn exit_codes_say_what_went_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let dir = &dir.path().join("mint");
    assert_eq!(run(dir, &["voucher", "5"]).status.code(), Some(3));
    assert_eq!(run(dir, &["init"]).status.code(), Some(0));
    assert_eq!(run(dir, &["init"]).status.code(), Some(4));
    assert_eq!(run(dir, &["voucher", "0"]).status.code(), Some(2));
    assert_eq!(run(dir, &["frobnicate"]).status.code(), Some(2));
    let serving = serve(dir);
    assert_eq!(run(dir, &["serve", "--listen", "127.0.0.1:0"]).status.code(), Some(4));
    let taken = serving.url.trim_start_matches("http://").to_owned();
    let other = dir.with_extension("other");
    assert!(run(&other, &["init"]).status.success());
    assert_eq!(run(&other, &["serve", "--listen", &taken]).status.code(), Some(1));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(dir.join("seed")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}
