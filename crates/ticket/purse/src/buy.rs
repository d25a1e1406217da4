//! Buying: a voucher becomes clean tickets.

use cloudpal_form::{ExchangeError, SellerError, Voucher, VoucherFormError, issue};
use rusqlite::{OptionalExtension, params};

use crate::book::insert_proof;
use crate::core::{Core, TRIES, WorkError};
use crate::work::{Purchase, Work, forget};

// The seller's answers that mean: this voucher will never pay. Others may pass.
const USED: u64 = 21_004;
const HOPELESS: std::ops::RangeInclusive<u64> = 21_001..=21_006;

/// How far a purchase got, for showing progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuyStep {
    /// The seller gave a quote.
    Quoted,
    /// The voucher paid it.
    Paid,
    /// The tickets are here.
    Issued,
    /// They were swapped: the seller can no longer tell them from anyone's.
    Clean,
}

/// A finished purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bought {
    /// The voucher's worth, in cpm.
    pub amount: u64,
    /// What of it was added by this call: nothing if the purse had bought with this voucher before.
    pub fresh: u64,
}

/// Why a purchase did not finish.
#[derive(Debug, thiserror::Error)]
pub enum BuyError {
    /// The text is not a voucher code.
    #[error(transparent)]
    Voucher(#[from] VoucherFormError),
    /// The seller will not take this voucher.
    #[error("buying for this voucher was refused")]
    Refused(#[source] SellerError),
    /// Something passing. The purchase is noted: buy again with the same voucher, or recover.
    #[error("buying did not finish: try again with the same voucher, it pays only once")]
    Unfinished(#[source] WorkError),
}

impl<E: Into<WorkError>> From<E> for BuyError {
    fn from(error: E) -> Self {
        Self::Unfinished(error.into())
    }
}

impl Core {
    pub(crate) fn buy(&self, code: &str, progress: &dyn Fn(BuyStep)) -> Result<Bought, BuyError> {
        let voucher = Voucher::parse(code)?;
        let _turn = self.turn()?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.buy_once(&voucher, progress) {
                Err(BuyError::Unfinished(error)) if tries < TRIES && self.mend(&error)? => {}
                other => return other,
            }
        }
    }

    fn buy_once(&self, voucher: &Voucher, progress: &dyn Fn(BuyStep)) -> Result<Bought, BuyError> {
        self.finish_exchanges()?;
        let before: Option<i64> = self.book.read(|rows| {
            rows.query_row("SELECT amount FROM bought WHERE voucher = ?1", [voucher.hash()], |row| row.get(0))
                .optional()
        })?;
        if before.is_some() {
            self.make_clean()?;
            return Ok(Bought { amount: voucher.amount(), fresh: 0 });
        }
        self.restore_if_new()?;
        let begun = self.works()?.into_iter().find_map(|(id, work)| match work {
            Work::Buy(purchase) if purchase.voucher == voucher.reveal() => Some((id, purchase)),
            _ => None,
        });
        let (id, purchase) = match begun {
            Some(begun) => begun,
            None => {
                let purchase = Purchase { voucher: voucher.reveal(), quote: None, blanks: None };
                (self.note(&Work::Buy(purchase.clone()))?, purchase)
            }
        };
        self.purchase(id, purchase, progress)?;
        self.make_clean()?;
        progress(BuyStep::Clean);
        Ok(Bought { amount: voucher.amount(), fresh: voucher.amount() })
    }

    /// Takes a noted purchase from wherever it is to FRESH tickets.
    pub(crate) fn purchase(
        &self,
        id: i64,
        mut purchase: Purchase,
        progress: &dyn Fn(BuyStep),
    ) -> Result<u64, BuyError> {
        let voucher = Voucher::parse(&purchase.voucher)?;
        let quote = match &purchase.quote {
            Some(quote) => quote.clone(),
            None => {
                let quote = self.direct.quote(voucher.amount())?.id;
                purchase.quote = Some(quote.clone());
                self.update(id, &Work::Buy(purchase.clone()))?;
                quote
            }
        };
        progress(BuyStep::Quoted);

        match self.direct.pay(&quote, &voucher) {
            Ok(_) => progress(BuyStep::Paid),
            Err(SellerError::Refused { code: USED, .. }) if self.adopt(id, &mut purchase, &voucher)? => {
                return self.purchase(id, purchase, progress);
            }
            Err(error @ SellerError::Refused { code, .. }) if HOPELESS.contains(&code) => {
                self.forget(id)?;
                return Err(BuyError::Refused(error));
            }
            Err(error) => return Err(error.into()),
        }

        let (keysets, active) = self.keysets()?;
        let blanks = match &purchase.blanks {
            Some(blanks) => blanks.clone(),
            None => {
                let blanks = self.plain_blanks(&active, voucher.amount())?;
                purchase.blanks = Some(blanks.clone());
                self.update(id, &Work::Buy(purchase.clone()))?;
                blanks
            }
        };
        let proofs = match issue(&self.direct, &keysets, &quote, &blanks) {
            Ok(proofs) => proofs,
            Err(ExchangeError::Refused(error)) if self.direct.quote_state(&quote)?.amount_issued > 0 => {
                // Another purse with the same voucher fetched the tickets.
                self.forget(id)?;
                return Err(BuyError::Refused(error));
            }
            Err(error) => {
                if matches!(error, ExchangeError::Refused(_) | ExchangeError::BlanksUsed) {
                    // Nothing was signed on these blanks for this quote: their keyset was rotated out, or
                    // another purse from the same seed words was ahead. The next try takes others.
                    purchase.blanks = None;
                    self.update(id, &Work::Buy(purchase))?;
                }
                return Err(error.into());
            }
        };
        self.book.write(|rows| {
            for proof in &proofs {
                insert_proof(rows, proof, "FRESH")?;
            }
            rows.execute(
                "INSERT OR IGNORE INTO bought (voucher, amount) VALUES (?1, ?2)",
                params![voucher.hash(), voucher.amount() as i64],
            )?;
            forget(rows, id)
        })?;
        self.book.scrub()?;
        progress(BuyStep::Issued);
        Ok(voucher.amount())
    }

    /// Whether the voucher paid a quote that gave nothing yet. Then an earlier purse lost its records
    /// between paying and fetching, and this purchase goes on with that quote.
    fn adopt(&self, id: i64, purchase: &mut Purchase, voucher: &Voucher) -> Result<bool, BuyError> {
        let paid = self.direct.paid_by(voucher)?;
        if paid.amount_issued > 0 || purchase.quote.as_ref() == Some(&paid.id) {
            return Ok(false);
        }
        purchase.quote = Some(paid.id);
        self.update(id, &Work::Buy(purchase.clone()))?;
        Ok(true)
    }

    /// Swaps everything FRESH by the clean way.
    pub(crate) fn make_clean(&self) -> Result<(), WorkError> {
        for inputs in self.proofs("FRESH")?.chunks(cloudpal_form::MAX_TICKETS) {
            self.swap_to_keep(inputs.to_vec())?;
        }
        Ok(())
    }
}
