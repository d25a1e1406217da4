//! How the mint is paid (vouchers) and pays (credit notes), as cdk's payment interface.
//!
//! One [`Backend`] a method; both read the same ledger. Quotes are named by their id throughout, so
//! nothing has to be matched up.

use std::collections::HashMap;
use std::pin::Pin;

use async_trait::async_trait;
use cdk_common::Amount;
use cdk_common::nuts::{CurrencyUnit, MeltQuoteState};
use cdk_common::payment::{
    CreateIncomingPaymentResponse, Error, Event, IncomingPaymentOptions, MakePaymentResponse, MintPayment,
    OutgoingPaymentOptions, PaymentIdentifier, PaymentQuoteResponse, SettingsResponse, WaitPaymentResponse,
};
use cloudpal_form::{CreditNote, SETTLE_METHOD, UNIT, VOUCHER_METHOD};
use futures::Stream;

use crate::ledger::{Ledger, LedgerError, now_unix};
use crate::note::NoteKey;

const MAX_ACCOUNT_BYTES: usize = 128;

/// Which way the money goes.
pub(crate) enum Direction {
    /// Vouchers in.
    Vouchers,
    /// Credit notes out.
    Notes(NoteKey),
}

pub(crate) struct Backend {
    ledger: Ledger,
    direction: Direction,
}

impl Backend {
    pub(crate) fn new(ledger: Ledger, direction: Direction) -> Self {
        Self { ledger, direction }
    }

    fn note_key(&self) -> Result<&NoteKey, Error> {
        match &self.direction {
            Direction::Notes(key) => Ok(key),
            Direction::Vouchers => Err(Error::UnsupportedPaymentOption),
        }
    }

    /// The ledger is SQLite: its calls block, so they run where blocking is allowed.
    async fn in_ledger<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, Error> {
        let ledger = self.ledger.clone();
        tokio::task::spawn_blocking(move || work(&ledger))
            .await
            .map_err(|error| Error::Backend(Box::new(error)))?
            .map_err(|error| Error::Backend(Box::new(error)))
    }

    async fn settled(&self, quote: String) -> Result<MakePaymentResponse, Error> {
        let asked = quote.clone();
        let found = self.in_ledger(move |ledger| ledger.settlement(&asked)).await?;
        let (status, spent, proof) = match found {
            Some((_, amount, Some(note))) => (MeltQuoteState::Paid, amount, Some(note)),
            // No note was written, and none will be unless make_payment runs again.
            _ => (MeltQuoteState::Unpaid, 0, None),
        };
        Ok(MakePaymentResponse {
            payment_lookup_id: PaymentIdentifier::CustomId(quote),
            payment_proof: proof,
            status,
            total_spent: Amount::new(spent, unit()),
        })
    }
}

#[async_trait]
impl MintPayment for Backend {
    type Err = Error;

    async fn get_settings(&self) -> Result<SettingsResponse, Error> {
        let method = match self.direction {
            Direction::Vouchers => VOUCHER_METHOD,
            Direction::Notes(_) => SETTLE_METHOD,
        };
        Ok(SettingsResponse {
            unit: UNIT.to_owned(),
            bolt11: None,
            bolt12: None,
            onchain: None,
            custom: HashMap::from([(method.to_owned(), "{}".to_owned())]),
        })
    }

    async fn create_incoming_payment_request(
        &self,
        options: IncomingPaymentOptions,
    ) -> Result<CreateIncomingPaymentResponse, Error> {
        let IncomingPaymentOptions::Custom(options) = options else {
            return Err(Error::UnsupportedPaymentOption);
        };
        // A voucher is worth a fixed amount, so a quote without one could never be told paid.
        if options.amount.is_none() || !matches!(self.direction, Direction::Vouchers) {
            return Err(Error::UnsupportedPaymentOption);
        }
        let quote = options.quote_id.to_string();
        Ok(CreateIncomingPaymentResponse {
            request: format!("{VOUCHER_METHOD}:{quote}"),
            request_lookup_id: PaymentIdentifier::CustomId(quote),
            expiry: None,
            extra_json: None,
        })
    }

    async fn check_incoming_payment_status(
        &self,
        payment_identifier: &PaymentIdentifier,
    ) -> Result<Vec<WaitPaymentResponse>, Error> {
        let quote = payment_identifier.to_string();
        let payment = self.in_ledger(move |ledger| ledger.payment(&quote)).await?;
        Ok(payment
            .into_iter()
            .map(|(amount, payment_id)| WaitPaymentResponse {
                payment_identifier: payment_identifier.clone(),
                payment_amount: Amount::new(amount, unit()),
                payment_id,
            })
            .collect())
    }

    async fn get_payment_quote(
        &self,
        _: &CurrencyUnit,
        options: OutgoingPaymentOptions,
    ) -> Result<PaymentQuoteResponse, Error> {
        self.note_key()?;
        let OutgoingPaymentOptions::Custom(options) = options else {
            return Err(Error::UnsupportedPaymentOption);
        };
        let account = options.request.trim().to_owned();
        let amount = options.amount.ok_or(Error::AmountMismatch)?.value();
        if account.is_empty() || account.len() > MAX_ACCOUNT_BYTES || amount == 0 {
            return Err(Error::UnsupportedPaymentOption);
        }
        let quote = options.quote_id.to_string();
        let named = quote.clone();
        self.in_ledger(move |ledger| ledger.expect_settlement(&named, &account, amount)).await?;
        Ok(PaymentQuoteResponse {
            request_lookup_id: Some(PaymentIdentifier::CustomId(quote)),
            amount: Amount::new(amount, unit()),
            fee: Amount::new(0, unit()),
            state: MeltQuoteState::Unpaid,
            extra_json: None,
            estimated_blocks: None,
            fee_options: None,
        })
    }

    async fn make_payment(
        &self,
        _: &CurrencyUnit,
        options: OutgoingPaymentOptions,
    ) -> Result<MakePaymentResponse, Error> {
        let OutgoingPaymentOptions::Custom(options) = options else {
            return Err(Error::UnsupportedPaymentOption);
        };
        let quote = options.quote_id.to_string();
        let asked = quote.clone();
        let expected = self.in_ledger(move |ledger| ledger.settlement(&asked)).await?;
        let (account, amount, _) = expected.ok_or(Error::UnknownPaymentState)?;
        let note = CreditNote { account, amount, quote: quote.clone(), settled_unix: now_unix() as u64 };
        let signed = self.note_key()?.sign(&note).ok_or(Error::UnknownPaymentState)?;
        let text = serde_json::to_string(&signed)?;
        let named = quote.clone();
        self.in_ledger(move |ledger| ledger.settle(&named, &text)).await?;
        self.settled(quote).await
    }

    async fn check_outgoing_payment(
        &self,
        payment_identifier: &PaymentIdentifier,
    ) -> Result<MakePaymentResponse, Error> {
        self.settled(payment_identifier.to_string()).await
    }

    async fn wait_payment_event(&self) -> Result<Pin<Box<dyn Stream<Item = Event> + Send>>, Error> {
        // Payments come in by the voucher desk, which tells the mint itself.
        Ok(Box::pin(futures::stream::pending()))
    }

    fn is_payment_event_stream_active(&self) -> bool {
        false
    }

    fn cancel_payment_event_stream(&self) {}
}

fn unit() -> CurrencyUnit {
    CurrencyUnit::custom(UNIT)
}
