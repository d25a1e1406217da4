//! Who replicates with a running pal.

use super::Remote;
use super::http::{Ask, RemoteError, path};
use serde_json::{Value, json};
use std::net::SocketAddr;
use ureq::http::Method;

/// What the pal is, and where it replicates.
pub fn about(remote: &Remote) -> Result<Value, RemoteError> {
    remote.http.get(Ask::of("/v1"))
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
