//! `cloudpal db serve`: a database for programs and pages, until Ctrl-C.

pub mod args;
pub mod token;

use crate::command::data::Desk;
use crate::failure::{Exit, Failure};
use crate::local;
use crate::local::failure::failed as opened;
use crate::local::stop::Stop;
use crate::terminal::Report;
use args::Serve;
use cloudpal_base::Database;
use cloudpal_serve::token::Book;
use cloudpal_serve::{Databases, Limits, Service};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// How long one wait for the signal takes; another follows.
const A_WHILE: Duration = Duration::from_secs(3600);

pub fn run(desk: Desk<'_>, wish: &Serve) -> Result<(), Failure> {
    // First, so that the threads of the store and of the runtime leave the signals to us.
    let stop = Stop::catch()?;
    if !local::has_store(&wish.store) {
        let message = format!(
            "there is no data in {} yet; make a database with: cloudpal db create",
            wish.store.display()
        );
        return Err(Failure::new(Exit::NotFound, message));
    }
    let shelf = local::open(desk.app.person, &wish.store)?;
    let database = Database::open(shelf.store(), &wish.name).map_err(opened)?;
    let failed = |error| Failure::lift(Exit::Failed, error);
    let service =
        Service::new(database.clone(), book(&wish.store, &wish.name), Limits::default()).map_err(failed)?;
    let databases = Databases::from([(wish.name.clone(), service)]);
    serve(desk, wish, databases, &stop)?;
    database.close().map_err(|error| Failure::lift(Exit::Failed, error))?;
    Ok(shelf.close()?)
}

/// The address is printed once it can be reached.
fn serve(desk: Desk<'_>, wish: &Serve, databases: Databases, stop: &Stop) -> Result<(), Failure> {
    let failed = |error| {
        let message = format!(
            "cannot listen on {}; is the address one of this machine, and the port free?",
            wish.listen
        );
        Failure::because(Exit::Failed, message, error)
    };
    let runtime = Runtime::new().map_err(failed)?;
    let listener = runtime.block_on(TcpListener::bind(&wish.listen)).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let url = format!("http://{address}/v1/databases/{}", wish.name);
    let text = format!("{} is served at {url} until Ctrl-C, to holders of its tokens.", wish.name);
    desk.terminal.print(&Report::new(text, json!({ "url": url, "address": address.to_string() })))?;
    let (end, ended) = oneshot::channel::<()>();
    let serving = runtime.spawn(cloudpal_serve::serve(listener, databases, async {
        let _ = ended.await;
    }));
    while !stop.wait(A_WHILE) {}
    let _ = end.send(());
    let _ = runtime.block_on(serving);
    // What is being written is written; connections that wait for nothing are dropped.
    runtime.shutdown_timeout(Duration::from_secs(5));
    Ok(())
}

/// The tokens of a database, beside the store: they can be changed while it is served. Names hold any character, so the
/// file is called by their hash.
fn book(store: &Path, name: &str) -> Book {
    let hash = hex::encode(Sha256::digest(name.as_bytes()));
    Book::at(store.join("tokens").join(format!("{hash}.json")))
}
