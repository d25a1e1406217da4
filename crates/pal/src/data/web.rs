//! The page and its interface: HTTP on the overlay addresses, port 80.

use super::files::{FileName, Files};
use super::guard::Guard;
use super::hyper::{self, Hyper};
use super::network::Network;
use super::page;
use super::status::{self, Status};
use super::vault::{FILES, Vault};
use axum::body::{Body, Bytes};
use axum::extract::{FromRef, Path, Query, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use cloudpal_protocol::guest::DataState;
use cloudpal_protocol::inside::{Answer, DataStart, Question};
use futures::stream::{self, Stream, StreamExt};
use serde::Deserialize;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

const PORT: u16 = 80;
/// Files are read in pieces of so many bytes.
const PIECE: usize = 64 * 1024;

/// What every request can reach.
#[derive(Clone)]
struct App {
    start: Arc<DataStart>,
    network: Arc<Network>,
    vault: Arc<Vault>,
    guard: Arc<Guard>,
    files: Files,
    hyper: Hyper,
}

impl FromRef<App> for Hyper {
    fn from_ref(app: &App) -> Hyper {
        app.hyper.clone()
    }
}

/// Serves on both overlay addresses.
pub fn start(start: Arc<DataStart>, network: Arc<Network>, vault: Arc<Vault>) {
    let addresses = [IpAddr::V4(start.overlay_v4), IpAddr::V6(start.overlay_v6)];
    let guard = Arc::new(Guard::new(&start));
    let hyper = Hyper::new(vault.clone(), addresses);
    hyper::port::start(&hyper, &network);
    let app = App { start, network, vault, guard, files: Files::new(FILES), hyper };
    for address in addresses {
        tokio::spawn(serve(address, router(app.clone())));
    }
}

async fn serve(address: IpAddr, router: Router) {
    // The address comes back a moment after the interface.
    for _ in 0..100 {
        if let Ok(listener) = TcpListener::bind((address, PORT)).await {
            let _ = axum::serve(listener, router.clone()).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn router(app: App) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/api/status", get(api_status))
        .route("/api/echo", get(api_echo))
        .route("/data/", get(list))
        .route("/data/{name}", get(read).put(write).delete(delete))
        .merge(hyper::router(&app.hyper))
        .fallback(|| async { text(StatusCode::NOT_FOUND, "There is nothing here. The pal's page is at /\n") })
        .layer(middleware::from_fn_with_state(app.guard.clone(), watch))
        .with_state(app)
}

/// Refuses who may not, and tells the browser what it may do with the answer.
pub async fn watch(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let mut response = match guard.admit(&mut request) {
        Ok(()) => next.run(request).await,
        Err((code, why)) => text(code, why),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(nothing);
    response
}

fn text(code: StatusCode, what: impl Into<String>) -> Response {
    (code, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], what.into()).into_response()
}

async fn gather(app: &App) -> Result<Status, Response> {
    let status = status::gather(&app.start, &app.network, &app.vault).await;
    status.map_err(|why| text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")))
}

async fn home(State(app): State<App>) -> Result<Response, Response> {
    let status = gather(&app).await?;
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| text(StatusCode::SERVICE_UNAVAILABLE, "Try again.\n"))?;
    let nonce: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut headers = HeaderMap::new();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Ok((headers, Html(page::render(&status, &nonce))).into_response())
}

async fn api_status(State(app): State<App>) -> Result<Response, Response> {
    Ok(Json(gather(&app).await?).into_response())
}

/// `?run=` eight bytes in hex, as they stand at the start of each datagram.
#[derive(Deserialize)]
struct Run {
    run: String,
}

async fn api_echo(State(app): State<App>, Query(Run { run }): Query<Run>) -> Response {
    let number = (run.len() == 16).then(|| u64::from_str_radix(&run, 16).ok()).flatten();
    let Some(number) = number else {
        return text(
            StatusCode::BAD_REQUEST,
            "run takes 16 hexadecimal digits: the first eight bytes of each datagram\n",
        );
    };
    match app.network.ask(Question::Echo(number.to_be_bytes())).await {
        Answer::Echo(count) => Json(count).into_response(),
        Answer::Refused(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        _ => text(StatusCode::SERVICE_UNAVAILABLE, "Try again.\n"),
    }
}

async fn list(State(app): State<App>) -> Result<Response, Response> {
    let entries = on_disk(&app, |files| files.list()).await?;
    Ok(Json(entries).into_response())
}

async fn read(State(app): State<App>, Path(name): Path<String>) -> Result<Response, Response> {
    let name = FileName::parse(&name).ok_or_else(bad_name)?;
    let file = on_disk(&app, move |files| files.open(&name)).await?;
    let length = file.metadata().map_err(|error| refuse(&error))?.len();
    let as_file = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, "attachment".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    Ok((as_file, Body::from_stream(pieces(file))).into_response())
}

/// A file's bytes piece by piece: a pal has little memory.
fn pieces(file: File) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(tokio::fs::File::from_std(file), |mut file| async move {
        let mut piece = vec![0; PIECE];
        let size = file.read(&mut piece).await?;
        piece.truncate(size);
        Ok((size > 0).then(|| (Bytes::from(piece), file)))
    })
}

async fn write(State(app): State<App>, Path(name): Path<String>, body: Body) -> Result<Response, Response> {
    let name = FileName::parse(&name).ok_or_else(bad_name)?;
    let mut part = on_disk(&app, move |files| files.begin(&name)).await?;
    let mut body = body.into_data_stream();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| {
            text(StatusCode::BAD_REQUEST, "The file did not arrive whole; nothing was stored.\n")
        })?;
        part = on_disk(&app, move |_| part.write(&piece).map(|()| part)).await?;
    }
    on_disk(&app, move |_| part.place()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn delete(State(app): State<App>, Path(name): Path<String>) -> Result<Response, Response> {
    let name = FileName::parse(&name).ok_or_else(bad_name)?;
    on_disk(&app, move |files| files.delete(&name)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn bad_name() -> Response {
    text(
        StatusCode::BAD_REQUEST,
        "A file's name has 1 to 128 bytes, does not begin with a dot and holds no slash.\n",
    )
}

/// Runs something on the unlocked disk, away from the loop that serves everybody else.
async fn on_disk<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(Files) -> io::Result<T> + Send + 'static,
) -> Result<T, Response> {
    if app.vault.state() == DataState::Locked {
        return Err(text(
            StatusCode::LOCKED,
            "The data of this pal is locked. Unlock it on one of your devices: cloudpal unlock\n",
        ));
    }
    let files = app.files.clone();
    match tokio::task::spawn_blocking(move || work(files)).await {
        Ok(done) => done.map_err(|error| refuse(&error)),
        Err(_) => Err(text(StatusCode::INTERNAL_SERVER_ERROR, "The pal stumbled over this. Try again.\n")),
    }
}

fn refuse(error: &io::Error) -> Response {
    match error.kind() {
        io::ErrorKind::NotFound => text(StatusCode::NOT_FOUND, "There is no file of this name.\n"),
        io::ErrorKind::FileTooLarge => {
            text(StatusCode::PAYLOAD_TOO_LARGE, "A file has at most 16 MiB here; nothing was stored.\n")
        }
        io::ErrorKind::StorageFull => text(
            StatusCode::INSUFFICIENT_STORAGE,
            "The pal's disk is full; the file was not stored. Delete something first.\n",
        ),
        _ => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The pal's disk did not do this. Try again; if it stays so, restart the pal.\n",
        ),
    }
}
