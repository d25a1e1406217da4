//! # A database, served
//!
//! Offers a [`Database`](cloudpal_base::Database) to apps and devices: over one WebSocket per client
//! ([`wire`], many small requests in flight, changes pushed), and over plain HTTP with JSON for scripts. What is said
//! on either is written down in `docs/database-api.md` and in `GET /openapi.json`.
//!
//! Whoever comes shows a [token](token): it reaches some sub-databases, to read or to write, until a day. The server
//! keeps only a hash of it. Messages, batches, snapshots, subscriptions, connections and requests per second are
//! limited ([`Limits`]); who sends too fast is answered later, not dropped. A program that can tell its owner from others, such as a
//! pal, mounts [`routes`] beside its own addresses and vouches for the owner ([`Owner`]), who needs no token.
//!
//! It never decides what a database means (that is `cloudpal-db`), opens no store, and never logs or shows a token.
//!
//! ```no_run
//! use cloudpal_serve::{Databases, Limits, Service, token::Book};
//!
//! # async fn example(database: cloudpal_base::Database) -> Result<(), Box<dyn std::error::Error>> {
//! let service = Service::new(database, Book::at("tokens/home.json"), Limits::default())?;
//! let databases = Databases::from([("home".to_owned(), service)]);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! cloudpal_serve::serve(listener, databases, std::future::pending()).await?;
//! # Ok(()) }
//! ```

mod code;
mod directory;
mod http;
pub mod json;
mod openapi;
pub mod owner;
mod rate;
mod service;
mod session;
mod socket;
pub mod token;
mod told;
pub mod wire;

pub use code::{Code, Failure};
pub use directory::{Databases, Directory, Owner};
pub use http::form::{Encoding, Place};
pub use http::{router, routes};
pub use rate::Rate;
pub use service::{Limits, Service};

use axum::serve::ListenerExt as _;
use std::future::Future;
use std::io;
use tokio::net::TcpListener;

/// Serves until `stop` is there. Connections that are open then are dropped with the runtime.
pub async fn serve(
    listener: TcpListener,
    databases: impl Directory,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    // Small answers are gathered before they are sent; waiting for more would only delay them.
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    let router = router(databases);
    tokio::select! {
        served = axum::serve(listener, router).into_future() => served,
        () = stop => Ok(()),
    }
}
