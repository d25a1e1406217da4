//! Metering: intervals, receipts, what is due, and what happens when nothing is left.

use super::Worker;
use crate::credit;
use crate::lifecycle::{Event, SleepReason};
use crate::time::unix_ms;
use cloudpal_core::{Digest, Milli, PublicKey, Signature, Signed};
use cloudpal_meter::{Ledger, NextInterval, ahead};
use cloudpal_protocol::TicketText;
use cloudpal_protocol::api::PalState;
use cloudpal_protocol::guest::{Account, ToGuest, WakeReason};
use cloudpal_protocol::receipt::{Metered, Receipt};
use std::time::{Duration, Instant};

/// A pal that was woken only to pay is given this long.
const PAY_TIME: Duration = Duration::from_secs(5);

/// What is due is asked for this often.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Once nothing is left the pal is asked a last time and given this long, on the host: its owner may be
/// handing tickets over at this very moment.
const LAST_CALL: Duration = Duration::from_secs(2);

/// At most this many receipts are sent at once for acknowledgement.
const RECEIPTS_AT_ONCE: u32 = 50;

/// How paying goes at the moment.
#[derive(Debug, Default)]
pub(crate) struct Payment {
    /// Asked for at this moment.
    asked: Option<Instant>,
    /// Nothing was left at this moment, and the pal was asked a last time.
    last_call: Option<Instant>,
    /// What the pal said it still holds, whole cpm; unknown after a restart of the agent.
    held_cpm: Option<u64>,
    /// Woken only to pay: back to sleep at this moment at the latest.
    only_to_pay: Option<Instant>,
}

/// What the pal's time counts as while it is in this state; nothing while it is unpaid or gone.
fn metered(state: PalState) -> Option<Metered> {
    match state {
        PalState::Paid | PalState::Unpaid | PalState::Gone | PalState::Failed => None,
        PalState::Asleep => Some(Metered::Asleep),
        PalState::Booting
        | PalState::Awake
        | PalState::Quiescing
        | PalState::Saving
        | PalState::Resuming
        | PalState::Waking => Some(Metered::Awake),
    }
}

impl Worker {
    /// Closes the running interval when the price of time changes, and opens the next.
    pub(super) fn meter_change(&mut self, before: PalState, now: PalState) {
        let (before, after) = (metered(before), metered(now));
        if before == after {
            return;
        }
        if let Some(metered) = before {
            self.close_interval(metered);
        }
        let mut ledger = self.record.ledger();
        ledger.open_since = after.map(|_| ledger.open_since.unwrap_or_else(unix_ms).max(unix_ms()));
        self.record.set_ledger(&ledger);
        if now == PalState::Unpaid {
            self.record.unpaid_since.get_or_insert_with(unix_ms);
        }
    }

    fn close_interval(&mut self, metered: Metered) {
        let mut ledger = self.record.ledger();
        let prices = &self.registry.price_list;
        let digest = self.registry.price_digest();
        let Some(receipt) = ledger.close(prices, digest, metered, unix_ms()) else { return };
        let signed: Signed<Receipt> = Signed::sign(&receipt, &self.registry.keys.sign);
        let (number, digest) = (receipt.number, signed.digest());
        ledger.receipted(&receipt, digest);
        self.record.set_ledger(&ledger);
        let bytes = signed.into_bytes();
        match self.registry.store.put_receipt(&self.record, number, &bytes, digest) {
            Ok(()) => drop(self.tell(&ToGuest::Receipt(bytes))),
            Err(error) => tracing::error!(pal = %self.id().short(), %error, "cannot write a receipt down"),
        }
    }

    pub(super) fn tick_credit(&mut self) {
        let now = unix_ms();
        let state = self.life.state();
        if state == PalState::Unpaid {
            return self.tick_grace(now);
        }
        let Some(metered) = metered(state) else { return };
        let ledger = self.record.ledger();
        let ends = ledger.interval_ends(&self.registry.price_list);
        match state {
            PalState::Awake => {
                if ends.is_some_and(|ends| now >= ends) {
                    self.close_interval(metered);
                }
                self.ask_for_next(metered);
                self.back_to_sleep_once_paid();
                self.last_call(metered);
            }
            PalState::Asleep if self.spent(metered) => {
                self.close_interval(metered);
                match self.payment.held_cpm {
                    Some(0) => self.credit_gone(),
                    _ => self.event(Event::WakeAsked(WakeReason::Credit)),
                }
            }
            _ => {}
        }
        self.tell_account();
    }

    fn spent(&self, metered: Metered) -> bool {
        self.record.ledger().left_at(&self.registry.price_list, metered, unix_ms()) == Milli::ZERO
    }

    fn last_call(&mut self, metered: Metered) {
        match self.payment.last_call {
            _ if !self.spent(metered) => self.payment.last_call = None,
            None => {
                self.payment.last_call = Some(Instant::now());
                self.payment.asked = None;
                self.ask_for_next(metered);
            }
            Some(at) if at.elapsed() >= LAST_CALL => self.credit_gone(),
            Some(_) => {}
        }
    }

    fn ask_for_next(&mut self, metered: Metered) {
        if self.payment.asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) {
            return;
        }
        let ledger = self.record.ledger();
        if let NextInterval::Due(amount) = ledger.next_interval(&self.registry.price_list, metered, unix_ms())
        {
            self.payment.asked = Some(Instant::now());
            self.tell(&ToGuest::Due { amount });
        }
    }

    /// Before it sleeps, the pal pays a day asleep ahead.
    pub(super) fn ask_for_time_asleep(&mut self) {
        let left = self.record.ledger().left_at(&self.registry.price_list, Metered::Awake, unix_ms());
        let amount = ahead(&self.registry.price_list, Metered::Asleep) - left;
        if amount > Milli::ZERO {
            self.tell(&ToGuest::Due { amount });
        }
    }

    /// A pal that credit woke pays and sleeps on.
    pub(super) fn woken_to_pay(&mut self, reason: WakeReason) {
        self.payment.only_to_pay = (reason == WakeReason::Credit).then(|| Instant::now() + PAY_TIME);
        if reason == WakeReason::Credit {
            self.ask_for_time_asleep();
        }
    }

    fn back_to_sleep_once_paid(&mut self) {
        let Some(until) = self.payment.only_to_pay else { return };
        let asleep = ahead(&self.registry.price_list, Metered::Asleep);
        if self.record.ledger().left() >= asleep || Instant::now() >= until {
            self.payment.only_to_pay = None;
            self.event(Event::SleepAsked(SleepReason::Idle));
        }
    }

    pub(super) fn paid_by_pal(&mut self, tickets: &[TicketText], left_cpm: u64) {
        self.payment.held_cpm = Some(left_cpm);
        if tickets.is_empty() {
            return;
        }
        self.payment.asked = None;
        if let Err(error) = self.accept(tickets) {
            tracing::warn!(pal = %self.id().short(), %error, "the pal's tickets are not good");
            self.record.notice = Some(format!("the host cannot take the pal's tickets: {error}"));
            return;
        }
        self.has_credit();
    }

    /// What was paid while the pal was already on its way to sleep unpaid makes it an ordinary sleep.
    fn has_credit(&mut self) {
        if self.record.ledger().left() > Milli::ZERO {
            if self.record.unpaid_since.take().is_some() {
                self.record.notice = None;
            }
            self.event(Event::CreditCame);
        }
    }

    /// Takes tickets into the account. Taking the same ones twice counts once.
    pub(super) fn accept(&mut self, tickets: &[TicketText]) -> Result<(), credit::AcceptError> {
        let id = self.id().to_string();
        credit::accept(&self.registry.till, &id, tickets)?;
        self.refresh_paid();
        self.save("took tickets");
        Ok(())
    }

    /// The till knows best what was paid: it wrote that down before anything else happened.
    pub(super) fn refresh_paid(&mut self) {
        match credit::accepted(&self.registry.till, &self.id().to_string()) {
            Ok(paid) => {
                let ledger = Ledger { paid, ..self.record.ledger() };
                self.record.set_ledger(&ledger);
            }
            Err(error) => tracing::error!(pal = %self.id().short(), %error, "cannot read the till"),
        }
    }

    /// After the owner paid directly.
    pub(super) fn credit_came(&mut self) {
        // The pal may hold more now too; ask it again.
        self.payment = Payment::default();
        self.has_credit();
    }

    fn credit_gone(&mut self) {
        if self.payment.only_to_pay.take().is_some() || self.life.state() != PalState::Unpaid {
            self.record.unpaid_since.get_or_insert_with(unix_ms);
            let grace = self.grace_ms() / 86_400_000;
            self.record.notice =
                Some(format!("credit has run out; the pal is kept {grace} days: `cloudpal top-up`"));
            self.event(Event::CreditGone);
        }
    }

    fn grace_ms(&self) -> u64 {
        let prices = &self.registry.price_list;
        u64::from(prices.grace_s) * 1000
    }

    fn kept_until(&self) -> Option<u64> {
        let speed = u64::from(self.registry.price_list.speed.max(1));
        self.record.unpaid_since.map(|since| since + self.grace_ms() / speed)
    }

    fn tick_grace(&mut self, now: u64) {
        if self.kept_until().is_some_and(|until| now >= until) {
            tracing::warn!(pal = %self.id().short(), "its grace period is over; it is removed");
            self.event(Event::DeleteAsked);
        }
    }

    pub(super) fn account(&self) -> Account {
        let ledger = self.record.ledger();
        let running_out = self.payment.held_cpm == Some(0);
        let metered = metered(self.life.state()).filter(|_| running_out);
        Account {
            paid: ledger.paid,
            consumed: ledger.consumed,
            // To the second, so that it changes only when something happened.
            runs_out_unix_ms: metered.map(|metered| {
                let closed = ledger.open_since.unwrap_or_else(unix_ms);
                ledger.runs_out(&self.registry.price_list, metered, closed) / 1000 * 1000
            }),
            kept_until_unix_ms: self.kept_until(),
        }
    }

    fn tell_account(&mut self) {
        let account = self.account();
        if account != self.account_told && self.tell(&ToGuest::Account(account)) {
            self.account_told = account;
        }
    }

    /// Receipts of the time asleep, and others that the pal has not acknowledged.
    pub(super) fn send_receipts(&mut self) {
        match self.registry.store.unacknowledged(self.id(), RECEIPTS_AT_ONCE) {
            Ok(receipts) => {
                for receipt in receipts {
                    self.tell(&ToGuest::Receipt(receipt));
                }
            }
            Err(error) => tracing::error!(pal = %self.id().short(), %error, "cannot read receipts"),
        }
    }

    pub(super) fn acknowledged(&mut self, receipt: Digest, signature: &Signature) {
        let signer: Option<PublicKey> = self.record.keys.map(|keys| keys.sign);
        if !signer.is_some_and(|key| key.verifies(&receipt.0, signature)) {
            tracing::warn!(pal = %self.id().short(), "an acknowledgement is not signed by the pal");
            return;
        }
        if let Err(error) = self.registry.store.acknowledge(self.id(), receipt) {
            tracing::error!(pal = %self.id().short(), %error, "cannot note an acknowledgement");
        }
    }

    pub(super) fn disputed(&mut self, _receipt: Digest, reason: &str) {
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(200).collect();
        tracing::warn!(pal = %self.id().short(), %reason, "the pal disputes a receipt");
        self.record.notice = Some(format!("the pal disputes a receipt: {reason}"));
    }
}
