//! Whose request it is.

use super::{Failure, MAX_BODY};
use crate::registry::{Pal, Registry};
use crate::time::unix_ms;
use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request as HttpRequest};
use cloudpal_core::{PalId, PublicKey};
use cloudpal_protocol::api::{ApiError, ErrorCode};
use cloudpal_protocol::request::{HEADER, Request, Stamp, WINDOW_MS};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// At most this many requests are remembered; more in one window are refused.
const MAX_SEEN: usize = 100_000;

/// Nonces seen in the last window, so that no request counts twice.
#[derive(Debug, Default)]
pub struct Seen(Mutex<BTreeMap<(u64, PublicKey, u64), ()>>);

impl Seen {
    fn first_time(&self, stamp: &Stamp, now: u64) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = now.saturating_sub(WINDOW_MS);
        while seen.first_key_value().is_some_and(|(key, ())| key.0 < oldest) {
            seen.pop_first();
        }
        seen.len() < MAX_SEEN && seen.insert((stamp.unix_ms, stamp.key, stamp.nonce), ()).is_none()
    }
}

fn refused(message: impl Into<String>) -> ApiError {
    ApiError { code: ErrorCode::Refused, message: message.into() }
}

/// A request whose signature was checked, and that was not made before.
pub(crate) struct Authentic {
    signer: PublicKey,
    /// As it was signed.
    pub(crate) body: Bytes,
}

impl FromRequest<Arc<Registry>> for Authentic {
    type Rejection = Failure;

    async fn from_request(request: HttpRequest, registry: &Arc<Registry>) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let too_long = |_| ApiError {
            code: ErrorCode::Malformed,
            message: format!("the request's body did not arrive whole, or has more than {MAX_BODY} bytes"),
        };
        let body = to_bytes(body, MAX_BODY).await.map_err(too_long)?;
        let header = parts.headers.get(HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request { method: parts.method.as_str(), path, body: &body };
        let now = unix_ms();
        let stamp = request.check(header, now).map_err(|error| refused(error.to_string()))?;
        if !registry.seen.first_time(&stamp, now) {
            return Err(refused("this very request was made before; make a new one").into());
        }
        Ok(Authentic { signer: stamp.key, body })
    }
}

impl Authentic {
    /// Who signed.
    pub(crate) fn signer(&self) -> PublicKey {
        self.signer
    }

    /// The pal, if it is the signer's. A stranger learns nothing of whether it exists.
    pub(crate) fn pal(&self, registry: &Registry, id: &str) -> Result<Arc<Pal>, ApiError> {
        let missing = || ApiError {
            code: ErrorCode::NotFound,
            message: "there is no such pal of yours at this host; see `cloudpal list`".into(),
        };
        let id: PalId = id.parse().map_err(|_| missing())?;
        registry.pal(id).filter(|pal| pal.owner == self.signer).ok_or_else(missing)
    }

    /// Nothing, if the operator signed.
    pub(crate) fn operator(&self, registry: &Registry) -> Result<(), ApiError> {
        if self.signer == registry.keys.public() {
            return Ok(());
        }
        Err(refused("only this host's operator can do that"))
    }
}
