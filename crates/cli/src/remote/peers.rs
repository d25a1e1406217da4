//! Who replicates with a running pal.

use super::Remote;
use super::http::{Ask, RemoteError, path};
use crate::failure::{Exit, Failure};
use serde_json::{Value, json};
use std::net::{SocketAddr, ToSocketAddrs};
use ureq::http::Method;

/// What the pal is, and where it replicates.
pub fn about(remote: &Remote) -> Result<Value, RemoteError> {
    remote.http.get(Ask::of("/v1"))
}

/// An address and port, looked up here: a pal takes addresses only.
pub fn address(from: &str) -> Result<SocketAddr, Failure> {
    let found = from.to_socket_addrs().map_err(|error| {
        Failure::because(Exit::Usage, format!("`{from}` is no address, such as 192.0.2.7:4000"), error)
    })?;
    found
        .into_iter()
        .next()
        .ok_or_else(|| Failure::new(Exit::Unreachable, format!("{from} has no address; is the name right?")))
}

/// Has the pal connect to a peer, unless it is connected already.
pub fn dial(remote: &Remote, address: SocketAddr) -> Result<Value, RemoteError> {
    let body = json!({ "address": address }).to_string();
    remote.http.send_json(Method::POST, Ask::of("/v1/peers"), body.as_bytes())
}

/// Has it end that connection.
pub fn hang_up(remote: &Remote, address: SocketAddr) -> Result<Value, RemoteError> {
    let to = path(&["v1", "peers", &address.to_string()], None);
    remote.http.send_json(Method::DELETE, Ask::of(&to), &[])
}
