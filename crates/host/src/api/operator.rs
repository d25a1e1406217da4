//! What the operator's own commands ask of the running agent.

use super::auth::Authentic;
use super::{Answer, Failure};
use crate::lifecycle::SleepReason;
use crate::registry::Registry;
use crate::worker::{Ask, Quiescing};
use axum::Json;
use axum::extract::{Path, State};
use cloudpal_core::PalId;
use cloudpal_protocol::api::{ApiError, ErrorCode, PalInfo};
use cloudpal_protocol::guest::WakeReason;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A pal as its operator sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperatorPal {
    /// What its owner sees too.
    pub info: PalInfo,
    /// Process id of its machine, while one runs.
    pub machine_pid: Option<u32>,
    /// Start time of that process, clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub machine_start: Option<u64>,
    /// Its network namespace.
    pub netns: String,
    /// What its doorbell counted while it slept.
    pub doorbell: cloudpal_plan::wake::Counters,
    /// Milliseconds that the last wake took, from the ring to the hand-over.
    pub last_wake_ms: Option<f64>,
}

pub(crate) async fn list(
    State(registry): State<Arc<Registry>>,
    request: Authentic,
) -> Answer<Vec<OperatorPal>> {
    request.operator(&registry)?;
    Ok(Json(registry.all().iter().map(|pal| pal.for_operator()).collect()))
}

pub(crate) async fn stop(State(registry): State<Arc<Registry>>, request: Authentic) -> Answer<()> {
    request.operator(&registry)?;
    registry.stop.notify_one();
    Ok(Json(()))
}

pub(crate) async fn act(
    State(registry): State<Arc<Registry>>,
    Path((id, action)): Path<(String, String)>,
    request: Authentic,
) -> Answer<PalInfo> {
    request.operator(&registry)?;
    let missing = |what: &str| ApiError { code: ErrorCode::NotFound, message: what.into() };
    let id: PalId = id.parse().map_err(|_| missing("that is not a pal's id"))?;
    let pal = registry.pal(id).ok_or_else(|| missing("there is no such pal at this host"))?;
    let sleep = SleepReason::Operator;
    match action.as_str() {
        "sleep" => pal.ask(|reply| Ask::Sleep(sleep, Quiescing::Full, reply)).await,
        "sleep-without-quiescing" => pal.ask(|reply| Ask::Sleep(sleep, Quiescing::Skipped, reply)).await,
        "wake" => pal.ask(|reply| Ask::Wake(WakeReason::Operator, reply)).await,
        "remove" => pal.ask(Ask::Delete).await,
        _ => Err(missing("an operator can sleep, wake or remove a pal")),
    }
    .map(Json)
    .map_err(Failure)
}
