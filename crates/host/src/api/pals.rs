//! What owners ask.

use super::auth::Authentic;
use super::{Answer, Failure, parse};
use crate::lifecycle::SleepReason;
use crate::registry::Registry;
use crate::worker::{Ask, Quiescing};
use axum::Json;
use axum::extract::{Path, Query, State};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cloudpal_protocol::api::{
    AddCredit, ApiError, CreatePal, ErrorCode, PalInfo, Receipts, Relay, ReturnTickets, ReturnedTickets,
};
use cloudpal_protocol::channel::MAX_MESSAGE;
use cloudpal_protocol::guest::WakeReason;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// A request for news waits at most this long.
const LONG_POLL: Duration = Duration::from_secs(25);

/// At most this many receipts in one answer.
const RECEIPTS: u32 = 500;

type Host = State<Arc<Registry>>;

pub(crate) async fn create(State(registry): Host, request: Authentic) -> Answer<PalInfo> {
    let create: CreatePal = parse(&request.body)?;
    if create.owner_sign != request.signer() {
        let message = "the request is signed by another key than the owner's it names".into();
        return Err(ApiError { code: ErrorCode::Refused, message }.into());
    }
    let create = move || registry.create(&create);
    let pal = tokio::task::spawn_blocking(create).await.map_err(internal)??;
    Ok(Json(pal.info()))
}

/// `?after=N`
#[derive(Debug, Deserialize)]
pub(crate) struct News {
    after: Option<u64>,
}

pub(crate) async fn info(
    State(registry): Host,
    Path(id): Path<String>,
    Query(news): Query<News>,
    request: Authentic,
) -> Answer<PalInfo> {
    let pal = request.pal(&registry, &id)?;
    let mut watch = pal.watch();
    if let Some(after) = news.after {
        // Nothing new within the time is no error: the answer is then what it was.
        let _ = tokio::time::timeout(LONG_POLL, watch.wait_for(|info| info.change > after)).await;
    }
    Ok(Json(pal.info()))
}

pub(crate) async fn delete(
    State(registry): Host,
    Path(id): Path<String>,
    request: Authentic,
) -> Answer<PalInfo> {
    let pal = request.pal(&registry, &id)?;
    pal.ask(Ask::Delete).await.map(Json).map_err(Failure)
}

pub(crate) async fn credit(
    State(registry): Host,
    Path(id): Path<String>,
    request: Authentic,
) -> Answer<PalInfo> {
    let pal = request.pal(&registry, &id)?;
    let credit: AddCredit = parse(&request.body)?;
    pal.ask(|reply| Ask::AddCredit(credit.tickets, reply)).await.map(Json).map_err(Failure)
}

pub(crate) async fn relay(
    State(registry): Host,
    Path(id): Path<String>,
    request: Authentic,
) -> Answer<Relay> {
    let pal = request.pal(&registry, &id)?;
    let relay: Relay = parse(&request.body)?;
    let malformed = |message: &str| ApiError { code: ErrorCode::Malformed, message: message.into() };
    let message = STANDARD.decode(&relay.message).map_err(|_| malformed("the message is not base64"))?;
    if message.len() > MAX_MESSAGE {
        return Err(malformed("the message is longer than 65,535 bytes").into());
    }
    let (session, answer) = pal.ask(|reply| Ask::Relay { session: relay.session, message, reply }).await?;
    Ok(Json(Relay { session: Some(session), message: STANDARD.encode(answer) }))
}

pub(crate) async fn sleep(
    State(registry): Host,
    Path(id): Path<String>,
    request: Authentic,
) -> Answer<PalInfo> {
    let pal = request.pal(&registry, &id)?;
    let ask = |reply| Ask::Sleep(SleepReason::Owner, Quiescing::Full, reply);
    pal.ask(ask).await.map(Json).map_err(Failure)
}

pub(crate) async fn wake(
    State(registry): Host,
    Path(id): Path<String>,
    request: Authentic,
) -> Answer<PalInfo> {
    let pal = request.pal(&registry, &id)?;
    pal.ask(|reply| Ask::Wake(WakeReason::Owner, reply)).await.map(Json).map_err(Failure)
}

/// `?from=N`
#[derive(Debug, Deserialize)]
pub(crate) struct From {
    from: Option<u64>,
}

pub(crate) async fn receipts(
    State(registry): Host,
    Path(id): Path<String>,
    Query(query): Query<From>,
    request: Authentic,
) -> Answer<Receipts> {
    let pal = request.pal(&registry, &id)?;
    let acknowledged = pal.info().acknowledged;
    let read = move || registry.store.receipts(pal.id, query.from.unwrap_or(0), RECEIPTS);
    let receipts = tokio::task::spawn_blocking(read).await.map_err(internal)?.map_err(internal)?;
    Ok(Json(Receipts { receipts, acknowledged }))
}

/// Anyone who knows a ticket's secret may ask, also for a pal that was never created: a signature is of
/// use only to whoever holds the ticket itself, and only for tickets that paid for nothing here.
pub(crate) async fn give_back(State(registry): Host, request: Authentic) -> Answer<ReturnedTickets> {
    let tickets: ReturnTickets = parse(&request.body)?;
    let sign = move || registry.give_back(&tickets.secrets);
    let signatures = tokio::task::spawn_blocking(sign).await.map_err(internal)??;
    Ok(Json(ReturnedTickets { signatures }))
}

pub(crate) fn internal(error: impl std::fmt::Display) -> Failure {
    tracing::error!(%error, "a request failed");
    let message = "the host could not do this; its operator finds the reason in the log".into();
    Failure(ApiError { code: ErrorCode::Internal, message })
}
