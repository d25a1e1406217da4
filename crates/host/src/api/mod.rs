//! The HTTP interface. Every request about a pal is signed by its owner; every operator's request by
//! the host's own key. Handlers only check, pass on to the pal's worker and wait.

pub(crate) mod auth;
pub(crate) mod operator;
mod pals;

use crate::registry::Registry;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cloudpal_protocol::api::{ApiError, ErrorCode, HostInfo};
use std::sync::Arc;

/// No request's body is longer, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// The router.
pub fn router(registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/v1/host", get(host))
        .route("/v1/pals", post(pals::create))
        .route("/v1/pals/{id}", get(pals::info).delete(pals::delete))
        .route("/v1/pals/{id}/credit", post(pals::credit))
        .route("/v1/pals/{id}/relay", post(pals::relay))
        .route("/v1/pals/{id}/sleep", post(pals::sleep))
        .route("/v1/pals/{id}/wake", post(pals::wake))
        .route("/v1/pals/{id}/receipts", get(pals::receipts))
        .route("/v1/pals/{id}/return", post(pals::give_back))
        .route("/v1/operator/pals", get(operator::list))
        .route("/v1/operator/stop", post(operator::stop))
        .route("/v1/operator/pals/{id}/{action}", post(operator::act))
        .fallback(no_such_path)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(registry)
}

async fn host(State(registry): State<Arc<Registry>>) -> Json<HostInfo> {
    Json(registry.host_info())
}

async fn no_such_path(uri: Uri) -> Failure {
    Failure(ApiError {
        code: ErrorCode::NotFound,
        message: format!("{} is not part of this host's interface, version 1", uri.path()),
    })
}

/// An [`ApiError`] on its way out, with the HTTP status that fits it.
#[derive(Debug)]
pub struct Failure(pub ApiError);

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Failure(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.0.code {
            ErrorCode::Malformed => StatusCode::BAD_REQUEST,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::Refused => StatusCode::FORBIDDEN,
            ErrorCode::Conflict => StatusCode::CONFLICT,
            ErrorCode::Unreachable => StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::Full => StatusCode::INSUFFICIENT_STORAGE,
            ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut response = (status, Json(self.0)).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// What every handler answers with.
pub type Answer<T> = Result<Json<T>, Failure>;

pub(crate) fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError {
        code: ErrorCode::Malformed,
        message: format!("the request's body cannot be read: {error}"),
    })
}
