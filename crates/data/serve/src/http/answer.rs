use crate::code::Failure;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// What went wrong, as JSON.
pub struct Refusal(pub Failure);

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Refusal(failure)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Failure { code, message } = self.0;
        (code.status(), Json(json!({ "error": { "code": code.name(), "message": message } }))).into_response()
    }
}
