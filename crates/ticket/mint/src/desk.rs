//! `POST /v1/voucher`: where a quote is paid. `POST /v1/voucher/quote`: which quote a voucher has paid, for
//! whoever lost their records in between and still has the paper. Plus the one repair that stock clients
//! need for settling.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use cdk::mint::{Mint, QuoteId};
use cdk_common::Amount;
use cdk_common::mint::MintQuote;
use cdk_common::nuts::CurrencyUnit;
use cdk_common::payment::{PaymentIdentifier, WaitPaymentResponse};
use cloudpal_form::{SETTLE_METHOD, UNIT, VOUCHER_METHOD, Voucher};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ledger::{Ledger, LedgerError};
use crate::limiter::Limiter;

const MAX_BODY_BYTES: usize = 4 << 10;

pub(crate) struct Desk {
    mint: Arc<Mint>,
    ledger: Ledger,
    limiter: Limiter,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payment {
    quote: String,
    voucher: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    voucher: String,
}

/// Numbers above 21000 are CloudPal's own; NUT-00 leaves them free.
enum Refusal {
    Malformed,
    Wrong(String),
    NoQuote,
    Ledger(LedgerError),
    TooMany,
    Broken,
}

impl Desk {
    pub(crate) fn router(mint: Arc<Mint>, ledger: Ledger) -> Router {
        let desk = Self { mint, ledger, limiter: Limiter::new(Instant::now()) };
        Router::new()
            .route("/v1/voucher", post(pay))
            .route("/v1/voucher/quote", post(paid_by))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(Arc::new(desk))
    }

    async fn pay(&self, from: SocketAddr, body: &[u8]) -> Result<Value, Refusal> {
        self.admit(from)?;
        let payment: Payment = serde_json::from_slice(body).map_err(|_| Refusal::Malformed)?;
        let voucher = self.read(from, &payment.voucher)?;
        let quote: QuoteId = payment.quote.parse().map_err(|_| Refusal::NoQuote)?;
        let asked = self.look_up(&quote).await?.amount.as_ref().map(Amount::value).ok_or(Refusal::NoQuote)?;

        let name = quote.to_string();
        let redeemed = self.in_ledger(move |ledger| ledger.redeem(&voucher, &name, asked).map(drop)).await;
        redeemed.inspect_err(|refusal| self.note_wrong(from, refusal))?;
        // From here on the voucher is spent: whatever fails now is repaired by asking again.
        self.tell_mint(&quote).await
    }

    async fn paid_by(&self, from: SocketAddr, body: &[u8]) -> Result<Value, Refusal> {
        self.admit(from)?;
        let question: Question = serde_json::from_slice(body).map_err(|_| Refusal::Malformed)?;
        let voucher = self.read(from, &question.voucher)?;
        let paid = self.in_ledger(move |ledger| ledger.paid_by(&voucher)).await;
        let quote = paid.inspect_err(|refusal| self.note_wrong(from, refusal))?.ok_or(Refusal::NoQuote)?;
        self.tell_mint(&quote.parse().map_err(|_| Refusal::Broken)?).await
    }

    /// Makes the mint know of the ledger's payment for `quote`, and answers how the quote stands.
    async fn tell_mint(&self, quote: &QuoteId) -> Result<Value, Refusal> {
        let name = quote.to_string();
        let payment = self.in_ledger(move |ledger| ledger.payment(&name)).await?;
        let (amount, payment_id) = payment.ok_or(Refusal::Broken)?;
        let event = WaitPaymentResponse {
            payment_identifier: PaymentIdentifier::CustomId(quote.to_string()),
            payment_amount: Amount::new(amount, CurrencyUnit::custom(UNIT)),
            payment_id,
        };
        self.mint.pay_mint_quote_for_request_id(event).await.map_err(|_| Refusal::Broken)?;
        let paid = self.look_up(quote).await?;
        Ok(json!({
            "quote": quote.to_string(),
            "unit": UNIT,
            "amount_paid": paid.amount_paid().value(),
            "amount_issued": paid.amount_issued().value(),
        }))
    }

    async fn look_up(&self, quote: &QuoteId) -> Result<MintQuote, Refusal> {
        let found = self.mint.localstore().get_mint_quote(quote).await.map_err(|_| Refusal::Broken)?;
        let ours = |quote: &MintQuote| {
            quote.payment_method == VOUCHER_METHOD && quote.unit == CurrencyUnit::custom(UNIT)
        };
        found.filter(ours).ok_or(Refusal::NoQuote)
    }

    async fn in_ledger<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let ledger = self.ledger.clone();
        let done = tokio::task::spawn_blocking(move || work(&ledger)).await.map_err(|_| Refusal::Broken)?;
        done.map_err(Refusal::Ledger)
    }

    fn admit(&self, from: SocketAddr) -> Result<(), Refusal> {
        let admitted = self.limiter.allows(from.ip(), Instant::now());
        admitted.then_some(()).ok_or(Refusal::TooMany)
    }

    fn read(&self, from: SocketAddr, code: &str) -> Result<Voucher, Refusal> {
        Voucher::parse(code).map_err(|error| {
            self.limiter.wrong(from.ip());
            Refusal::Wrong(error.to_string())
        })
    }

    fn note_wrong(&self, from: SocketAddr, refusal: &Refusal) {
        if matches!(refusal, Refusal::Ledger(LedgerError::Unknown | LedgerError::Used)) {
            self.limiter.wrong(from.ip());
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, detail) = match self {
            Self::Malformed => {
                (StatusCode::BAD_REQUEST, 21_000, "send {\"quote\": id, \"voucher\": code}".to_owned())
            }
            Self::Wrong(detail) => (StatusCode::BAD_REQUEST, 21_001, detail),
            Self::NoQuote => {
                (StatusCode::NOT_FOUND, 21_002, "no such quote by voucher: ask for a new one".to_owned())
            }
            Self::Ledger(error @ LedgerError::Unknown) => (StatusCode::FORBIDDEN, 21_003, error.to_string()),
            Self::Ledger(error @ LedgerError::Used) => (StatusCode::CONFLICT, 21_004, error.to_string()),
            Self::Ledger(error @ LedgerError::QuotePaid) => (StatusCode::CONFLICT, 21_005, error.to_string()),
            Self::Ledger(error @ LedgerError::Worth { .. }) => {
                (StatusCode::CONFLICT, 21_006, error.to_string())
            }
            Self::TooMany => {
                let detail = "too many wrong codes from this address: wait a minute, then try again";
                (StatusCode::TOO_MANY_REQUESTS, 21_007, detail.to_owned())
            }
            Self::Ledger(_) | Self::Broken => {
                let detail = "the seller failed: try again with the same quote and voucher; nothing is lost";
                (StatusCode::INTERNAL_SERVER_ERROR, 21_008, detail.to_owned())
            }
        };
        (status, Json(json!({ "code": code, "detail": detail }))).into_response()
    }
}

async fn pay(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    desk.pay(from, &body).await.map(Json)
}

async fn paid_by(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    desk.paid_by(from, &body).await.map(Json)
}

/// Adds the `method` that the mint wants in the body of a settlement quote and that cashu-ts, which
/// names it in the path only, does not send.
pub(crate) async fn name_settle_method(request: Request, next: Next) -> Response {
    if request.uri().path() != format!("/v1/melt/quote/{SETTLE_METHOD}") {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, MAX_BODY_BYTES).await else {
        return Refusal::Malformed.into_response();
    };
    let bytes = match serde_json::from_slice(&bytes) {
        Ok(Value::Object(mut fields)) => {
            fields.entry("method").or_insert_with(|| SETTLE_METHOD.into());
            parts.headers.remove(axum::http::header::CONTENT_LENGTH);
            Value::Object(fields).to_string().into()
        }
        _ => bytes,
    };
    next.run(Request::from_parts(parts, Body::from(bytes))).await
}
