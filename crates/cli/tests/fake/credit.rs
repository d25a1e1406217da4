use super::{Fuse, MINT};
use cloudpal_cli::credit::{Balance, Credit, CreditError, LockWish, Locked, LockedTicket};
use cloudpal_core::PalId;
use cloudpal_protocol::TicketText;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

/// A purse in memory that outlives a killed command, as a real one does on disk.
pub struct FakeCredit {
    purse: Mutex<Purse>,
    fuse: Arc<Fuse>,
}

#[derive(Default)]
struct Purse {
    free: u64,
    made: u64,
    pending: BTreeMap<String, Locked>,
    /// Every ticket that was locked and not taken back, with its purpose.
    out: Vec<(String, TicketText)>,
    locks: Vec<String>,
}

pub fn worth(ticket: &TicketText) -> u64 {
    let json: serde_json::Value = serde_json::from_str(&ticket.0).unwrap();
    json["amount"].as_u64().unwrap()
}

impl FakeCredit {
    pub fn with(free: u64, fuse: Arc<Fuse>) -> Self {
        FakeCredit { purse: Mutex::new(Purse { free, ..Purse::default() }), fuse }
    }

    pub fn free(&self) -> u64 {
        self.purse.lock().unwrap().free
    }

    pub fn pending_cpm(&self) -> u64 {
        self.purse.lock().unwrap().pending.values().map(Locked::cpm).sum()
    }

    /// Purposes for which credit was locked, in order.
    pub fn locks(&self) -> Vec<String> {
        self.purse.lock().unwrap().locks.clone()
    }

    // A kill can come before the purse did anything and after it did everything.
    fn step<T>(&self, what: impl FnOnce(&mut Purse) -> T) -> T {
        self.fuse.burn();
        let done = what(&mut self.purse.lock().unwrap());
        self.fuse.burn();
        done
    }
}

impl Credit for FakeCredit {
    fn buy(&self, mint: &str, voucher: &Zeroizing<String>) -> Result<u64, CreditError> {
        assert_eq!(mint, MINT);
        let wrong = || CreditError::Refused("the seller does not know this voucher".into(), None);
        let worth: u64 = voucher.strip_prefix("GOOD").and_then(|cpm| cpm.parse().ok()).ok_or_else(wrong)?;
        self.step(|purse| purse.free += worth);
        Ok(worth)
    }

    fn balances(&self) -> Result<Vec<Balance>, CreditError> {
        let (free_cpm, locked_cpm) = (self.free(), self.pending_cpm());
        Ok(vec![Balance { mint: MINT.into(), free_cpm, locked_cpm }])
    }

    fn lock(&self, wish: &LockWish<'_>) -> Result<Locked, CreditError> {
        self.step(|purse| {
            if let Some(locked) = purse.pending.get(wish.purpose) {
                return Ok(locked.clone());
            }
            if purse.free < wish.amount_cpm {
                let (wanted, have) = (wish.amount_cpm, purse.free);
                return Err(CreditError::Short { wanted, have, mint: MINT.into() });
            }
            purse.free -= wish.amount_cpm;
            purse.locks.push(wish.purpose.to_owned());
            let (mut left, mut tickets) = (wish.amount_cpm, Vec::new());
            while left > 0 {
                let cpm = (1 << left.ilog2()).min(64);
                purse.made += 1;
                let padding = "x".repeat(600);
                let text =
                    format!("{{\"amount\":{cpm},\"secret\":\"s{}\",\"padding\":\"{padding}\"}}", purse.made);
                tickets.push(LockedTicket { cpm, text: TicketText(text) });
                left -= cpm;
            }
            let locked = Locked { purpose: wish.purpose.into(), mint: MINT.into(), tickets };
            purse.pending.insert(wish.purpose.into(), locked.clone());
            purse.out.extend(locked.tickets.iter().map(|one| (wish.purpose.to_owned(), one.text.clone())));
            Ok(locked)
        })
    }

    fn pending(&self, _: &str, purpose: &str) -> Result<Option<Locked>, CreditError> {
        Ok(self.purse.lock().unwrap().pending.get(purpose).cloned())
    }

    fn handed_over(&self, locked: &Locked) -> Result<(), CreditError> {
        self.step(|purse| purse.pending.remove(&locked.purpose));
        Ok(())
    }

    fn take_back(&self, _: &str, tickets: &[TicketText], signatures: &[String]) -> Result<u64, CreditError> {
        assert_eq!(tickets.len(), signatures.len());
        Ok(self.step(|purse| {
            let ours = |ticket: &&TicketText| purse.out.iter().any(|(_, out)| out == *ticket);
            let back = tickets.iter().filter(ours).map(worth).sum();
            purse.out.retain(|(_, ticket)| !tickets.contains(ticket));
            purse.pending.clear();
            purse.free += back;
            back
        }))
    }

    fn outstanding(&self, _: &str, pal: PalId) -> Result<Vec<TicketText>, CreditError> {
        let purse = self.purse.lock().unwrap();
        let of = |(purpose, _): &&(String, TicketText)| purpose.ends_with(&pal.to_string());
        Ok(purse.out.iter().filter(of).map(|(_, ticket)| ticket.clone()).collect())
    }

    fn reclaim(&self, _: &str) -> Result<u64, CreditError> {
        Ok(0)
    }

    fn recover(&self, _: &str) -> Result<u64, CreditError> {
        Ok(self.free())
    }
}
