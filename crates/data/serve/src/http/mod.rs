//! The plain side: HTTP with JSON, for scripts and programs that need no live connection.

mod answer;
mod batch;
mod entries;
mod find;
pub mod form;
mod rest;
mod told;

pub use answer::Refusal;

use crate::code::{Code, Failure};
use crate::directory::{Directory, Owner};
use crate::service::Service;
use crate::session::Session;
use crate::token::Access;
use crate::{openapi, socket};
use axum::extract::rejection::PathRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::spawn_blocking;

#[derive(Clone)]
struct App {
    databases: Arc<dyn Directory>,
}

/// Every address, as the OpenAPI document has it.
fn addresses() -> Vec<(&'static str, MethodRouter<App>)> {
    vec![
        ("/openapi.json", get(document)),
        ("/v1/databases/{database}", get(rest::about)),
        ("/v1/databases/{database}/entries", get(entries::scan)),
        (
            "/v1/databases/{database}/entries/{*key}",
            get(entries::read).put(entries::put).delete(entries::del),
        ),
        ("/v1/databases/{database}/batch", post(batch::batch)),
        ("/v1/databases/{database}/changes", get(rest::changes)),
        ("/v1/databases/{database}/conflicts", get(rest::conflicts)),
        ("/v1/databases/{database}/find", get(find::find)),
        ("/v1/databases/{database}/resolve", post(find::resolve)),
        ("/v1/databases/{database}/members", get(rest::members)),
        ("/v1/databases/{database}/socket", get(upgrade)),
    ]
}

/// The HTTP and WebSocket interface of databases, with answers for every other address.
pub fn router(databases: impl Directory) -> Router {
    bare(databases)
        .fallback(|| async {
            Refusal(Failure::new(Code::NotFound, "there is nothing here; see /openapi.json"))
        })
        .method_not_allowed_fallback(|| async {
            let message = "this is not done here with this method; see /openapi.json";
            (StatusCode::METHOD_NOT_ALLOWED, Refusal(Failure::new(Code::Invalid, message)))
        })
        .layer(middleware::from_fn(open_to_pages))
}

/// The same for a program that has other addresses beside these.
pub fn routes<S: Clone + Send + Sync + 'static>(databases: impl Directory) -> Router<S> {
    bare(databases).layer(middleware::from_fn(open_to_pages))
}

fn bare<S: Clone + Send + Sync + 'static>(databases: impl Directory) -> Router<S> {
    let app = App { databases: Arc::new(databases) };
    let route = |router: Router<App>, (path, methods)| router.route(path, methods);
    addresses().into_iter().fold(Router::new(), route).with_state(app)
}

/// Pages of any site may ask: nothing but the token, which a page has to hold, opens anything.
async fn open_to_pages(request: axum::extract::Request, next: Next) -> Response {
    let preflight = request.method() == Method::OPTIONS;
    let mut response =
        if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, PUT, POST, DELETE"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi::DOCUMENT).into_response()
}

async fn upgrade(
    State(app): State<App>,
    Path(database): Path<String>,
    owner: Option<Extension<Owner>>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Response> {
    let service = app.databases.find(&database).await?;
    let owner = owner.map(|Extension(owner)| owner);
    let upgrade = upgrade
        .protocols([crate::wire::SUBPROTOCOL])
        .max_message_size(crate::wire::MAX_MESSAGE)
        .max_frame_size(crate::wire::MAX_MESSAGE);
    Ok(upgrade.on_upgrade(move |connection| socket::serve(connection, service, owner)))
}

/// A request whose token was checked, or that the owner sent.
struct Caller {
    service: Arc<Service>,
    session: Session,
}

impl FromRequestParts<App> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let names = Path::<BTreeMap<String, String>>::from_request_parts(parts, app).await;
        let named = |error: PathRejection| Refusal(Failure::new(Code::Invalid, error.to_string()));
        let names = names.map_err(|error| named(error).into_response())?;
        let service = app.databases.find(names.get("database").map_or("", String::as_str)).await?;
        Caller::admit(parts, service).map_err(|failure| Refusal(failure).into_response())
    }
}

impl Caller {
    fn admit(parts: &Parts, service: Arc<Service>) -> Result<Self, Failure> {
        let access = match parts.extensions.get::<Owner>() {
            Some(Owner) if !parts.headers.contains_key(header::AUTHORIZATION) => Access::owner(),
            _ => service.access(token(&parts.headers)?)?,
        };
        let wait = service.charge(&access, 1, 0);
        if !wait.is_zero() {
            let message = format!("this token asks too much; try again in {} s", wait.as_secs() + 1);
            return Err(Failure::new(Code::TooMany, message));
        }
        Ok(Caller { session: Session::new(service.clone(), access), service })
    }

    /// Works on a thread that may block.
    async fn run<T: Send + 'static>(
        mut self,
        work: impl FnOnce(&mut Session) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Refusal> {
        let worked = spawn_blocking(move || work(&mut self.session)).await;
        let stumbled = |_| Failure::new(Code::Failed, "the server stumbled over this; try again");
        Ok(worked.map_err(stumbled)??)
    }
}

fn token(headers: &HeaderMap) -> Result<&str, Failure> {
    let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let missing =
        || Failure::new(Code::Unauthorized, "send the token in a header: authorization: Bearer TOKEN");
    text.and_then(|text| text.strip_prefix("Bearer ")).map(str::trim).ok_or_else(missing)
}

/// The addresses, for the test of the document.
#[cfg(test)]
pub(crate) fn paths() -> Vec<&'static str> {
    addresses().into_iter().map(|(path, _)| path).collect()
}
