//! `/v1/peers`: who is connected, and peers elsewhere that the pal is to connect to.

use super::logs::parsed;
use super::shelf::PeerInfo;
use super::{Hyper, Problem};
use axum::body::Body;
use axum::extract::{FromRef, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::SocketAddr;

pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Hyper: FromRef<S>,
{
    Router::new().route("/", get(list).post(dial)).route("/{address}", delete(hang_up))
}

fn shown(peer: &PeerInfo) -> Value {
    json!({ "address": peer.address, "key": peer.key, "dialled": peer.dialled })
}

async fn list(State(hyper): State<Hyper>) -> Result<Json<Value>, Problem> {
    let peers = hyper.run(|shelf| Ok(shelf.peers())).await?;
    Ok(Json(json!({ "peers": peers.iter().map(shown).collect::<Vec<_>>() })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// An address and a port; a pal looks up no names.
    address: SocketAddr,
}

async fn dial(State(hyper): State<Hyper>, body: Body) -> Result<Response, Problem> {
    let Wish { address } = parsed(body).await?;
    let (peer, new) = hyper.run(move |shelf| shelf.dial(address)).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(shown(&peer))).into_response())
}

async fn hang_up(
    State(hyper): State<Hyper>,
    Path(address): Path<SocketAddr>,
) -> Result<Json<Value>, Problem> {
    hyper.run(move |shelf| shelf.hang_up(address)).await?;
    Ok(Json(json!({ "address": address })))
}
