//! A server on a socket of its own, over a store in a folder that goes when it does.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test stops there, and says where")]

use cloudpal_base::Database;
use cloudpal_serve::token::{Book, Right, Scope, Token};
use cloudpal_serve::{Databases, Limits, Service, serve};
use cloudpal_store::{Store, StoreKey};
use std::net::SocketAddr;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub struct Server {
    pub runtime: Runtime,
    pub address: SocketAddr,
    pub database: Database,
    pub service: Arc<Service>,
    pub book: Book,
    pub store: Store,
    _folder: TempDir,
}

impl Server {
    pub fn start(limits: Limits) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let key = StoreKey::random().unwrap();
        let store = Store::open(&folder.path().join("store"), &key, Default::default()).unwrap();
        let database = Database::create(&store, "home").unwrap();
        let book = Book::at(folder.path().join("tokens.json"));
        let service = Service::new(database.clone(), book.clone(), limits).unwrap();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let databases = Databases::from([("home".to_owned(), service.clone())]);
        runtime.spawn(serve(listener, databases, std::future::pending()));
        Server { runtime, address, database, service, book, store, _folder: folder }
    }

    /// A token for one path; `seed` makes it differ from others.
    pub fn token(&self, path: &str, right: Right, seed: u8) -> Token {
        let scope = Scope { path: path.to_owned(), kind: None, right };
        self.book.add("test", vec![scope], None, [seed; 40]).unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}
