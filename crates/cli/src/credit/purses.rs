//! The real purses, one folder for each seller: `purse/<hash of the address>/`, with the address beside
//! the purse's own files in `seller`.

use super::{Balance, Credit, CreditError, LockWish, Locked, LockedTicket};
use crate::person::{self, Person, PersonError};
use cloudpal_core::PalId;
use cloudpal_protocol::TicketText;
use cloudpal_purse::{
    BookError, BuyError, ExchangeError, Leave, LockError, LockRequest, Purse, ReclaimError, RecoverError,
    ReturnSignature, SellerError, Ticket, WorkError, step_amounts,
};
use sha2::{Digest, Sha256};
use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

/// At most this many tickets are taken back at once.
const AT_ONCE: usize = 256;

/// The purses of a person. Opened when they are needed.
pub struct Purses<'a> {
    person: &'a Person,
}

struct Open {
    purse: Purse,
    runtime: Runtime,
    mint: String,
}

impl<'a> Purses<'a> {
    /// The purses of a person.
    pub fn of(person: &'a Person) -> Self {
        Purses { person }
    }

    fn dir(&self, mint: &str) -> PathBuf {
        self.person.purse_dir().join(hex::encode(&Sha256::digest(mint)[..8]))
    }

    fn open(&self, mint: &str) -> Result<Open, CreditError> {
        let opening =
            |source: Box<dyn Error + Send + Sync>| CreditError::Purse { doing: "opening the purse", source };
        let person = |error: PersonError| opening(error.into());
        let seed = self.person.phrase().map_err(person)?.purse_seed();
        let dir = self.dir(mint);
        person::make_private_dir(&dir).map_err(|error| opening(error.into()))?;
        let seller = dir.join("seller");
        if !seller.exists() {
            person::write_private(&seller, mint.as_bytes()).map_err(|error| opening(error.into()))?;
        }
        let purse = Purse::open(&dir, mint, seed.expose()).map_err(|error| opening(error.into()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| opening(error.into()))?;
        Ok(Open { purse, runtime, mint: mint.to_owned() })
    }

    fn known(&self) -> Result<Vec<String>, CreditError> {
        let reading =
            |source: Box<dyn Error + Send + Sync>| CreditError::Purse { doing: "reading the purses", source };
        let mut mints = Vec::new();
        for dir in person::list(&self.person.purse_dir()).map_err(|error| reading(error.into()))? {
            let seller = person::read(&dir.join("seller")).map_err(|error| reading(error.into()))?;
            mints.extend(seller.and_then(|bytes| String::from_utf8(bytes).ok()));
        }
        Ok(mints)
    }
}

impl Open {
    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    fn failed(&self, doing: &'static str) -> impl Fn(BookError) -> CreditError {
        move |error| CreditError::Purse { doing, source: Box::new(error) }
    }

    // A killed command may have left a swap under way: what it made counts as locked.
    fn settled(&self) -> Result<(), CreditError> {
        self.run(self.purse.check_pending()).map(drop).map_err(|error| self.recover_error(error))
    }

    fn pending(&self, purpose: &str) -> Result<Vec<cloudpal_purse::LockedTicket>, CreditError> {
        let mut all = self.run(self.purse.unfinished()).map_err(self.failed("reading the purse"))?;
        all.retain(|ticket| ticket.pal == purpose);
        Ok(all)
    }

    fn locked(&self, purpose: &str) -> Result<Option<Locked>, CreditError> {
        let tickets: Vec<_> = self.pending(purpose)?.into_iter().map(|one| one.ticket).map(text_of).collect();
        let locked = Locked { purpose: purpose.to_owned(), mint: self.mint.clone(), tickets };
        Ok((!locked.tickets.is_empty()).then_some(locked))
    }

    fn balance(&self) -> Result<u64, CreditError> {
        self.run(self.purse.balance()).map_err(self.failed("reading the purse"))
    }

    fn reclaim(&self, tickets: &[Ticket], leave: Leave) -> Result<u64, CreditError> {
        let back = self.run(self.purse.reclaim(tickets, leave));
        back.map(|back| back.amount).map_err(|error| match error {
            ReclaimError::Work(error) => self.work_error("taking credit back", error),
            other => CreditError::Refused(other.to_string(), None),
        })
    }

    fn recover_error(&self, error: RecoverError) -> CreditError {
        match error {
            RecoverError::Work(error) => self.work_error("recovering", error),
            RecoverError::Buy(error) => self.buy_error(error),
            RecoverError::Lock(error) => self.lock_error(error),
        }
    }

    fn buy_error(&self, error: BuyError) -> CreditError {
        match error {
            BuyError::Voucher(error) => CreditError::Voucher(error.to_string()),
            BuyError::Refused(source) => CreditError::Refused(
                "the ticket seller did not accept this voucher".into(),
                Some(source.into()),
            ),
            BuyError::Unfinished(error) => self.work_error("buying credit", error),
        }
    }

    fn lock_error(&self, error: LockError) -> CreditError {
        match error {
            LockError::TooLittle { balance, asked } => {
                CreditError::Short { wanted: asked, have: balance, mint: self.mint.clone() }
            }
            LockError::Work(error) => self.work_error("locking credit", error),
            other => CreditError::Refused(other.to_string(), None),
        }
    }

    fn work_error(&self, doing: &'static str, error: WorkError) -> CreditError {
        let silent = matches!(
            &error,
            WorkError::Seller(SellerError::Unreachable { .. })
                | WorkError::Exchange(
                    ExchangeError::Unfinished(SellerError::Unreachable { .. })
                        | ExchangeError::Refused(SellerError::Unreachable { .. })
                )
        );
        match silent {
            true => CreditError::Unreachable { mint: self.mint.clone(), source: Box::new(error) },
            false => CreditError::Purse { doing, source: Box::new(error) },
        }
    }
}

fn text_of(ticket: Ticket) -> LockedTicket {
    LockedTicket { cpm: ticket.amount, text: TicketText(serde_json::json!(ticket).to_string()) }
}

fn tickets_of(texts: &[TicketText]) -> Result<Vec<Ticket>, CreditError> {
    let read = |text: &TicketText| serde_json::from_str(&text.0);
    texts
        .iter()
        .map(read)
        .collect::<Result<_, _>>()
        .map_err(|error| CreditError::Refused("what came back is not a ticket".into(), Some(Box::new(error))))
}

impl Credit for Purses<'_> {
    fn buy(&self, mint: &str, voucher: &Zeroizing<String>) -> Result<u64, CreditError> {
        // A code with a typing mistake must not leave a purse behind.
        cloudpal_purse::Voucher::parse(voucher).map_err(|error| CreditError::Voucher(error.to_string()))?;
        let open = self.open(mint)?;
        let bought = open.run(open.purse.buy(voucher, |_| {}));
        bought.map(|bought| bought.fresh).map_err(|error| open.buy_error(error))
    }

    fn balances(&self) -> Result<Vec<Balance>, CreditError> {
        let mut balances = Vec::new();
        for mint in self.known()? {
            let open = self.open(&mint)?;
            let locked = open.run(open.purse.unfinished()).map_err(open.failed("reading the purse"))?;
            let locked_cpm = locked.iter().map(|ticket| ticket.ticket.amount).sum();
            balances.push(Balance { free_cpm: open.balance()?, locked_cpm, mint });
        }
        Ok(balances)
    }

    fn lock(&self, wish: &LockWish<'_>) -> Result<Locked, CreditError> {
        let open = self.open(wish.mint)?;
        open.settled()?;
        if let Some(locked) = open.locked(wish.purpose)? {
            return Ok(locked);
        }
        let request = LockRequest {
            amounts: step_amounts(wish.amount_cpm),
            till_pubkey: wish.till.to_owned(),
            locktime_unix: wish.locktime_unix,
            host: wish.till.to_owned(),
            pal: wish.purpose.to_owned(),
        };
        open.run(open.purse.lock(request)).map_err(|error| open.lock_error(error))?;
        let missing = || CreditError::Refused("the seller locked nothing; try again".into(), None);
        open.locked(wish.purpose)?.ok_or_else(missing)
    }

    fn pending(&self, mint: &str, purpose: &str) -> Result<Option<Locked>, CreditError> {
        let open = self.open(mint)?;
        open.settled()?;
        open.locked(purpose)
    }

    fn handed_over(&self, locked: &Locked) -> Result<(), CreditError> {
        let open = self.open(&locked.mint)?;
        let ids: Vec<_> = open.pending(&locked.purpose)?.into_iter().map(|one| one.id).collect();
        open.run(open.purse.handed_over(&ids)).map_err(open.failed("closing the books"))
    }

    fn outstanding(&self, mint: &str, pal: PalId) -> Result<Vec<TicketText>, CreditError> {
        let open = self.open(mint)?;
        open.settled()?;
        let reading = open.failed("reading the purse");
        let mut all = open.run(open.purse.handed()).map_err(&reading)?;
        all.extend(open.run(open.purse.unfinished()).map_err(&reading)?);
        let pal = pal.to_string();
        Ok(all
            .into_iter()
            .filter(|one| one.pal.ends_with(&pal))
            .map(|one| text_of(one.ticket).text)
            .collect())
    }

    fn take_back(
        &self,
        mint: &str,
        tickets: &[TicketText],
        signatures: &[String],
    ) -> Result<u64, CreditError> {
        let tickets = tickets_of(tickets)?;
        let signed = tickets.iter().zip(signatures).map(|(ticket, signature)| ReturnSignature {
            secret: ticket.secret.clone(),
            signature: signature.clone(),
        });
        let signed = signed.collect();
        self.open(mint)?.reclaim(&tickets, Leave::Signed(signed))
    }

    fn reclaim(&self, mint: &str) -> Result<u64, CreditError> {
        let open = self.open(mint)?;
        open.settled()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let reading = open.failed("reading the purse");
        let mut all = open.run(open.purse.handed()).map_err(&reading)?;
        all.extend(open.run(open.purse.unfinished()).map_err(&reading)?);
        let expired = all.into_iter().filter(|one| one.locktime_unix < now).map(|one| one.ticket);
        let expired: Vec<_> = expired.collect();
        expired.chunks(AT_ONCE).map(|some| open.reclaim(some, Leave::Locktime)).sum()
    }

    fn recover(&self, mint: &str) -> Result<u64, CreditError> {
        let open = self.open(mint)?;
        open.run(open.purse.recover()).map_err(|error| open.recover_error(error))?;
        open.balance()
    }
}
