//! Whose request it is.

use super::Call;
use crate::registry::{Pal, Registry};
use crate::time::unix_ms;
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

impl Call<'_> {
    /// Who signed the request, if anybody did, rightly and for the first time.
    pub(crate) fn signer(&self, registry: &Registry) -> Result<PublicKey, ApiError> {
        let header = self.headers.get(HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request { method: self.method.as_str(), path, body: self.body };
        let now = unix_ms();
        let stamp = request.check(header, now).map_err(|error| refused(error.to_string()))?;
        if !registry.seen.first_time(&stamp, now) {
            return Err(refused("this very request was made before; make a new one"));
        }
        Ok(stamp.key)
    }

    /// The pal, if it is the signer's. A stranger learns nothing of whether it exists.
    pub(crate) fn pal(&self, registry: &Registry, id: &str) -> Result<Arc<Pal>, ApiError> {
        let signer = self.signer(registry)?;
        let missing = || ApiError {
            code: ErrorCode::NotFound,
            message: "there is no such pal of yours at this host; see `cloudpal list`".into(),
        };
        let id: PalId = id.parse().map_err(|_| missing())?;
        registry.pal(id).filter(|pal| pal.owner == signer).ok_or_else(missing)
    }

    /// Nothing, if the operator signed.
    pub(crate) fn operator(&self, registry: &Registry) -> Result<(), ApiError> {
        if self.signer(registry)? == registry.keys.public() {
            return Ok(());
        }
        Err(refused("only this host's operator can do that"))
    }
}
