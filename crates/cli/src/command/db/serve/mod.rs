//! `cloudpal db serve`: a database for programs and pages, until Ctrl-C. A pal serves by itself.

pub mod args;
pub mod token;

use super::room::House;
use crate::command::data::Desk;
use crate::failure::{Exit, Failure};
use crate::local::failure::failed as opened;
use crate::local::stop::Stop;
use crate::printable::word;
use crate::remote::Remote;
use crate::remote::databases::RemoteBase;
use crate::remote::http::path;
use crate::terminal::Report;
use args::Serve;
use cloudpal_base::Database;
use cloudpal_serve::token::Book;
use cloudpal_serve::{Databases, Limits, Service};
use cloudpal_store::Store;
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// How long one wait for the signal takes; another follows.
const A_WHILE: Duration = Duration::from_secs(3600);

/// Serves a database of a folder, or says where a pal serves one of its own.
pub fn run(desk: Desk<'_>, wish: &Serve) -> Result<(), Failure> {
    // First, so that the threads of the store and of the runtime leave the signals to us.
    let stop = Stop::catch()?;
    match (House::open(desk, &wish.at)?, &wish.listen) {
        (House::Folder(store), Some(listen)) => folder(desk, wish, &stop, &store, listen),
        (House::Folder(_), None) => {
            let message = "say where to wait with --listen ADDR, such as 127.0.0.1:7700";
            Err(Failure::new(Exit::Usage, message))
        }
        (House::Pal(_), Some(_)) => {
            let message = "a pal serves its databases by itself; without --listen this says where";
            Err(Failure::new(Exit::Usage, message))
        }
        (House::Pal(pal), None) => at_the_pal(desk, &wish.name, pal),
    }
}

fn at_the_pal(desk: Desk<'_>, name: &str, pal: Remote) -> Result<(), Failure> {
    let url = format!("{}{}", pal.url, path(&["v1", "databases", name], None));
    // So that a mistyped name is told.
    let about = RemoteBase::new(pal, name).sync()?;
    let text = format!(
        "{} is served at {url} to the devices of the pal's network, and to pages that hold a token (`cloudpal db token`), whenever \
         the pal is awake and unlocked.",
        word(name)
    );
    desk.terminal.print(&Report::new(text, json!({ "url": url, "key": about["key"] })))
}

fn folder(desk: Desk<'_>, wish: &Serve, stop: &Stop, store: &Store, listen: &str) -> Result<(), Failure> {
    let database = Database::open(store, &wish.name).map_err(opened)?;
    let failed = |error| Failure::lift(Exit::Failed, error);
    let dir = wish.at.store.as_deref().unwrap_or(Path::new("."));
    let book = Book::beside(dir, &wish.name);
    let service = Service::new(database.clone(), book, Limits::default()).map_err(failed)?;
    let databases = Databases::from([(wish.name.clone(), service)]);
    serve(desk, wish, listen, databases, stop)?;
    database.close().map_err(opened)?;
    store.close().map_err(opened)
}

/// The address is printed once it can be reached.
fn serve(
    desk: Desk<'_>,
    wish: &Serve,
    listen: &str,
    databases: Databases,
    stop: &Stop,
) -> Result<(), Failure> {
    let failed = |error| {
        let message =
            format!("cannot listen on {listen}; is the address one of this machine, and the port free?");
        Failure::because(Exit::Failed, message, error)
    };
    let runtime = Runtime::new().map_err(failed)?;
    let listener = runtime.block_on(TcpListener::bind(listen)).map_err(failed)?;
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
