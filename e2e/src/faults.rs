//! What must fail does so with a sentence and a documented exit code, and costs nobody anything.

use crate::asleep::footprint;
use crate::page::{Answer, Ask, request};
use crate::ping;
use crate::steps::{Day, PATIENCE};
use crate::vault::Vault;
use anyhow::{Context as _, Result, ensure};
use cloudpal_core::{Label, SigningKey};
use cloudpal_protocol::request::{HEADER, Request};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A changed byte in either file of the memory image: refused, booted cold, data whole, and said.
pub fn changed_byte(day: &mut Day, vault: &Vault) -> Result<()> {
    for part in ["memory", "state"] {
        eprintln!("==> a changed byte in the {part} file");
        day.stage.sleep_now()?;
        let before = day.stage.seen()?;
        change_a_byte(day, &vault.memory_image().join(part))?;
        day.client.restart()?;
        ping::until_answered(day.client.namespace(), day.client.hub(), PATIENCE)?;
        let after = day.stage.wait_for("awake", PATIENCE)?;
        let cold = after.boots == before.boots + 1;
        day.report.check("a changed memory image is refused", cold, format!("{part}: {} boots", after.boots));
        day.report.check(
            "its owner is told",
            after.notice.is_some(),
            after.notice.clone().unwrap_or_default(),
        );
        day.wait_unlocked()?;
        day.check_marker("data whole after a refused memory image")?;
    }
    Ok(())
}

fn change_a_byte(day: &mut Day, path: &Path) -> Result<()> {
    let file = File::options().read(true).write(true).open(path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let size = file.metadata()?.len();
    ensure!(size > 0, "{} is empty", path.display());
    let at = day.random.below(size as usize) as u64;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    eprintln!("    byte {at} of {size}");
    file.write_all_at(&[byte[0] ^ 0x20], at)?;
    Ok(())
}

/// Tickets that are no good, and one that was spent: refused or of no effect, and none are lost.
pub fn bad_tickets(day: &mut Day) -> Result<()> {
    eprintln!("==> spent, changed and malformed tickets, a used voucher");
    let spent = accepted_ticket(day)?;
    let paid = day.stage.seen()?.paid_milli_cpm;
    let mut richer: Value = serde_json::from_str(&spent).context("a ticket is not JSON")?;
    ensure!(double_amount(&mut richer), "a ticket has no amount: {} bytes", spent.len());
    for (what, ticket) in [("malformed", "no ticket".to_owned()), ("changed", richer.to_string())] {
        let answer = offer(day, &ticket)?;
        let refused = (400..500).contains(&answer.status) && says_what_to_do(&answer);
        day.report.check(
            "a bad ticket is refused with a sentence",
            refused,
            format!("{what}: {}", answer.body),
        );
    }
    let again = offer(day, &spent)?;
    // What the pal pays of itself meanwhile is told from a ticket counted twice by the receipts' sum below.
    let after = day.stage.seen()?.paid_milli_cpm;
    day.report.check("a spent ticket counts once", again.status < 500 && after >= paid, again.status);

    let voucher = day.stage.voucher(3)?;
    let url = day.stage.up.mint.url.clone();
    let buy = ["credit", "buy", "--mint", &url];
    day.stage.cloudpal_with(&buy, &voucher)?;
    // It joins the person's credit: the sum at the end counts it.
    day.setting.voucher += 3;
    let free =
        |day: &Day| Ok::<_, anyhow::Error>(day.stage.cloudpal(&["credit", "balance"])?["free_cpm"].clone());
    let before = free(day)?;
    let (_, _, said) = day.stage.attempt(&buy, &voucher)?;
    let after = free(day)?;
    day.report.check("a voucher buys once", before == after, format!("{before} {after}: {}", said.trim()));
    day.stage.attempt_as_stranger(&["init"], "")?;
    let (code, _, said) = day.stage.attempt_as_stranger(&buy, &voucher)?;
    day.report.check("somebody else's used voucher is refused with exit code 4", code == 4, said.trim());
    Ok(())
}

/// Some ticket that the host has accepted, as its till keeps it. Read from a copy: the database is the host's.
fn accepted_ticket(day: &Day) -> Result<String> {
    let till = day.stage.up.host.state.join("till");
    let copy = day.stage.dir().join("till-copy");
    fs::create_dir_all(&copy)?;
    let mut database = None;
    for file in fs::read_dir(&till).with_context(|| format!("cannot list {}", till.display()))?.flatten() {
        let to = copy.join(file.file_name());
        fs::copy(file.path(), &to)?;
        if to.extension().is_some_and(|end| end == "sqlite") {
            database = Some(to);
        }
    }
    let database = database.with_context(|| format!("{} holds no database", till.display()))?;
    let connection = Connection::open(&database)?;
    let ticket = connection.query_row("SELECT json FROM ticket LIMIT 1", [], |row| row.get(0));
    drop(connection);
    fs::remove_dir_all(&copy)?;
    ticket.context("the host has accepted no ticket")
}

/// Makes a ticket claim twice what it is worth.
fn double_amount(ticket: &mut Value) -> bool {
    match ticket {
        Value::Object(fields) => {
            if let Some(amount) = fields.get("amount").and_then(Value::as_u64) {
                fields.insert("amount".into(), (amount * 2).into());
                return true;
            }
            fields.values_mut().any(double_amount)
        }
        Value::Array(items) => items.iter_mut().any(double_amount),
        _ => false,
    }
}

/// Offers a ticket to the host directly, signed by the owner as `cloudpal` signs.
fn offer(day: &Day, ticket: &str) -> Result<Answer> {
    let pal = day.stage.up.pal.id;
    let key = SigningKey::from_secret(&day.stage.seed()?.derive(&Label::OwnerSign { pal }));
    let (path, body) = (format!("/v1/pals/{pal}/credit"), json!({ "tickets": [ticket] }).to_string());
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let nonce = getrandom::u64().unwrap_or(now);
    let stamp = Request { method: "POST", path: &path, body: body.as_bytes() }.sign(&key, now, nonce);
    let header = format!("{HEADER}: {stamp}");
    let address = day.stage.up.host.url.trim_start_matches("http://").to_owned();
    request(address.parse()?, &address, Ask { header: Some(&header), ..Ask::new("POST", &path, &body) })
}

fn says_what_to_do(answer: &Answer) -> bool {
    let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    said["message"].as_str().is_some_and(|message| message.contains(' '))
}

/// Wrong words, unknown flags, a pal that is not there: a sentence and the documented exit code.
pub fn used_wrongly(day: &mut Day) -> Result<()> {
    eprintln!("==> used wrongly");
    let words = "abandon ".repeat(23) + "zoo";
    let voucher = day.stage.voucher(1)?;
    let mint = day.stage.up.mint.url.clone();
    let cases: [(&str, &[&str], &str, i32); 6] = [
        ("an unknown flag", &["status", "--no-such-flag"], "", 2),
        ("an unknown command", &["fly"], "", 2),
        ("a pal that is not there", &["status", "nobody"], "", 3),
        ("a voucher that is none", &["credit", "buy", "--mint", &mint], "not a voucher", 2),
        ("a seller that does not answer", &["credit", "buy", "--mint", "http://127.0.0.1:9"], &voucher, 5),
        ("a second seed", &["init"], "", 6),
    ];
    for (what, arguments, input, expected) in cases {
        let outcome = day.stage.attempt(arguments, input)?;
        judge(day, what, expected, &outcome);
    }
    let outcome = day.stage.attempt_as_stranger(&["init", "--restore"], &words)?;
    judge(day, "wrong seed words", 2, &outcome);
    Ok(())
}

fn judge(day: &mut Day, what: &str, expected: i32, outcome: &(i32, String, String)) {
    let (code, _, said) = outcome;
    // A sentence has words between spaces; a panic's trace is none.
    let kept = *code == expected && said.trim().contains(' ') && !said.contains("panicked");
    let saw = format!("{what}: {code} of {expected}: {}", said.trim().lines().last().unwrap_or_default());
    day.report.check("used wrongly: a sentence and exit code", kept, saw);
}

/// Credit runs out: the owner is warned, the pal sleeps and is kept; topping up brings it back.
pub fn credit_runs_out(day: &mut Day) -> Result<()> {
    day.connect()?;
    day.write_marker()?;
    eprintln!("==> credit runs out");
    let since = Instant::now();
    let mut warned = false;
    let unpaid = loop {
        let seen = day.stage.seen()?;
        warned |= seen.runs_out_unix_ms.is_some() && seen.state == "awake";
        if seen.state == "unpaid" {
            break seen;
        }
        ensure!(since.elapsed() < Duration::from_secs(240), "the pal still runs without credit: {seen:?}");
        std::thread::sleep(Duration::from_millis(300));
    };
    day.report.check("warned before credit ran out", warned, warned);
    let left = footprint(&day.stage)?;
    day.report.check("sleeps without credit", left.processes == 0, format!("{left:?}"));
    day.report.check("says how long it is kept", unpaid.kept_until_unix_ms.is_some(), format!("{unpaid:?}"));
    let woke = day.wake_by_packet().is_ok();
    day.report.check("does not wake without credit", !woke, woke);
    eprintln!("==> topped up");
    let name = day.stage.up.pal.name.clone();
    day.stage.cloudpal(&["top-up", &name, "40"])?;
    day.client.restart()?;
    ping::until_answered(day.client.namespace(), day.client.hub(), PATIENCE)?;
    day.wait_unlocked()?;
    day.check_marker("data whole after it was topped up")?;
    day.settle(day.setting.voucher)
}
