//! Where databases are found, and who needs no token.

use crate::code::{Code, Failure};
use crate::http::Refusal;
use crate::service::Service;
use axum::response::{IntoResponse, Response};
use futures::future::{BoxFuture, FutureExt as _, ready};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Databases by the names in their addresses.
pub trait Directory: Send + Sync + 'static {
    /// The database of that name, or what its asker is answered instead.
    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Service>, Response>>;
}

/// Databases that are open for as long as they are served.
pub type Databases = BTreeMap<String, Arc<Service>>;

impl Directory for Databases {
    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Service>, Response>> {
        let missing = || Failure::new(Code::NotFound, format!("no database {name:?} is served here"));
        ready(self.get(name).cloned().ok_or_else(|| Refusal(missing()).into_response())).boxed()
    }
}

/// In a request's extensions: whoever serves vouches that the owner asks. Where no token is sent, none is needed then. Never put it
/// on what a page of another site may have sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner;
