//! What went wrong, as JSON with a code for programs and a sentence for people.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cloudpal_base::{CheckpointError, HistoryError, MemberError, OpenError, WriteError, WriteFault};
use cloudpal_bee::ReadError as BeeReadError;
use cloudpal_drive::{PathError, ReadError as DriveReadError};
use cloudpal_log::{FeedError, StorageError};
use cloudpal_serve::Failure;
use cloudpal_serve::owner::OwnerError;
use cloudpal_serve::token::BookError;
use cloudpal_shelf::ShelfError;
use serde_json::json;
use std::error::Error;
use std::io;
use std::net::SocketAddr;

/// An answer that is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    /// For programs; never changes once documented.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Problem { status, code, message: message.into() }
    }

    /// The data disk is closed.
    pub fn locked() -> Self {
        let message =
            "the data of this pal is locked; unlock it on the device that holds your key: cloudpal unlock";
        Problem::new(StatusCode::LOCKED, "locked", message)
    }

    /// The store cannot be opened.
    pub fn unopened(error: &(dyn Error + 'static)) -> Self {
        let message = format!("the store on the pal's data disk does not open: {}", chain(error));
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "store", message)
    }

    /// A mistake of ours.
    pub fn stumbled() -> Self {
        let message = "the pal stumbled over this; try again";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", message)
    }

    /// Asked by somebody else than the owner.
    pub fn not_owner() -> Self {
        let message = "only the pal's own page, or a program on one of its devices, may do this";
        Problem::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// Used wrongly.
    pub fn usage(message: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, "usage", message)
    }

    /// No such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// No such address.
    pub fn no_route() -> Self {
        Problem::not_found(
            "there is nothing here; logs are at /v1/logs, maps at /v1/bees, drives at /v1/drives, databases at /v1/databases",
        )
    }

    /// There is another thing of this name.
    pub fn exists(message: impl Into<String>) -> Self {
        Problem::new(StatusCode::CONFLICT, "exists", message)
    }

    /// More than is taken at once.
    pub fn too_large(message: impl Into<String>) -> Self {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// A range of bytes that the file does not have.
    pub fn no_range(length: u64) -> Self {
        let message = format!("the file has {length} bytes, so there is nothing in this range");
        Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", message)
    }

    /// Nobody answers at an address.
    pub fn unreachable(address: SocketAddr, error: &(dyn Error + 'static)) -> Self {
        let message = format!("the pal does not reach {address}: {}", chain(error));
        Problem::new(StatusCode::BAD_GATEWAY, "unreachable", message)
    }

    /// Somebody answers there, but not as a peer does.
    pub fn no_peer(address: SocketAddr, why: &Problem) -> Self {
        let message = format!("no peer answers at {address}: {}", why.message);
        Problem::new(StatusCode::BAD_GATEWAY, "unreachable", message)
    }

    /// The body of a request ended early.
    pub fn cut_off() -> Self {
        Problem::new(StatusCode::BAD_REQUEST, "cut_off", "the bytes did not arrive whole; nothing was stored")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": { "code": self.code, "message": self.message } })))
            .into_response()
    }
}

/// Any error of the libraries below, told by what lies deepest.
impl<E: Error + 'static> From<E> for Problem {
    fn from(error: E) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        let mut known = None;
        while let Some(error) = cause {
            known = kind(error).or(known);
            cause = error.source();
        }
        let (status, code) = known.unwrap_or((StatusCode::INTERNAL_SERVER_ERROR, "failed"));
        Problem::new(status, code, chain(&error))
    }
}

fn kind(error: &(dyn Error + 'static)) -> Option<(StatusCode, &'static str)> {
    if let Some(known) = of_database(error) {
        return Some(known);
    }
    if let Some(error) = error.downcast_ref::<FeedError>() {
        return match error {
            FeedError::Unavailable { .. } => Some((StatusCode::GATEWAY_TIMEOUT, "unavailable")),
            FeedError::OutOfRange { .. } => Some((StatusCode::NOT_FOUND, "not_found")),
            FeedError::NotWritable => Some((StatusCode::FORBIDDEN, "not_writable")),
            FeedError::Closed => Some((StatusCode::LOCKED, "locked")),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<StorageError>() {
        return match error {
            StorageError::Full => Some((StatusCode::INSUFFICIENT_STORAGE, "full")),
            StorageError::Damaged { .. } => Some((StatusCode::INTERNAL_SERVER_ERROR, "damaged")),
            StorageError::Closed => Some((StatusCode::LOCKED, "locked")),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return (error.kind() == io::ErrorKind::StorageFull)
            .then_some((StatusCode::INSUFFICIENT_STORAGE, "full"));
    }
    if let Some(error) = error.downcast_ref::<ShelfError>() {
        return match error {
            ShelfError::Unknown { .. } => Some((StatusCode::NOT_FOUND, "not_found")),
            ShelfError::Name { .. } | ShelfError::CompatEncrypted => Some((StatusCode::BAD_REQUEST, "usage")),
            ShelfError::Taken { .. } | ShelfError::Known { .. } => Some((StatusCode::CONFLICT, "exists")),
            ShelfError::Full { .. } | ShelfError::Copies { .. } => {
                Some((StatusCode::PAYLOAD_TOO_LARGE, "too_large"))
            }
            _ => None,
        };
    }
    if error.is::<PathError>() {
        return Some((StatusCode::BAD_REQUEST, "usage"));
    }
    if let Some(error) = error.downcast_ref::<BeeReadError>() {
        let ahead = matches!(error, BeeReadError::Ahead { .. });
        return ahead.then_some((StatusCode::NOT_FOUND, "not_found"));
    }
    if let Some(error) = error.downcast_ref::<DriveReadError>() {
        let missing = matches!(error, DriveReadError::Missing { .. } | DriveReadError::Link { .. });
        return missing.then_some((StatusCode::NOT_FOUND, "not_found"));
    }
    None
}

/// Errors of databases. Those that only pass on what is behind them name no source of their own.
fn of_database(error: &(dyn Error + 'static)) -> Option<(StatusCode, &'static str)> {
    if let Some(error) = error.downcast_ref::<Failure>() {
        return Some((error.code.status(), error.code.name()));
    }
    if let Some(error) = error.downcast_ref::<OwnerError>() {
        return match error {
            OwnerError::Usage(_) => Some((StatusCode::BAD_REQUEST, "usage")),
            OwnerError::Open(error) => of_database(error),
            OwnerError::Write(error) => of_database(error),
            OwnerError::Member(error) => of_database(error),
            OwnerError::History(error) => of_database(error),
            OwnerError::Checkpoint(error) => of_database(error),
            OwnerError::Book(error) => of_database(error),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<OpenError>() {
        return match error {
            OpenError::Exists(_) => Some((StatusCode::CONFLICT, "exists")),
            OpenError::Missing(_) => Some((StatusCode::NOT_FOUND, "not_found")),
            OpenError::Name => Some((StatusCode::BAD_REQUEST, "usage")),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<MemberError>() {
        return match error {
            MemberError::Refused(error) => refused(error),
            MemberError::Write(error) => of_database(error),
            MemberError::Open(error) => of_database(error),
            MemberError::Unknown(_) => Some((StatusCode::NOT_FOUND, "not_found")),
            MemberError::Ambiguous(_) => Some((StatusCode::BAD_REQUEST, "usage")),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<HistoryError>() {
        return match error {
            HistoryError::Unknown { .. } => Some((StatusCode::NOT_FOUND, "not_found")),
            HistoryError::Gone => Some((StatusCode::GONE, "cursor_gone")),
            HistoryError::Write(error) => of_database(error),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<CheckpointError>() {
        return match error {
            CheckpointError::Refused(error) => refused(error),
            CheckpointError::Open(error) => of_database(error),
            CheckpointError::None => Some((StatusCode::NOT_FOUND, "not_found")),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<BookError>() {
        return match error {
            BookError::Unknown(_) => Some((StatusCode::NOT_FOUND, "not_found")),
            BookError::Kind(_) => Some((StatusCode::BAD_REQUEST, "usage")),
            BookError::Full => Some((StatusCode::PAYLOAD_TOO_LARGE, "too_large")),
            _ => None,
        };
    }
    match error.downcast_ref::<WriteFault>() {
        Some(WriteFault::Refused(error)) => refused(error),
        Some(WriteFault::Closed) => Some((StatusCode::LOCKED, "locked")),
        _ => None,
    }
}

/// What the pal as a member may not.
fn refused(error: &WriteError) -> Option<(StatusCode, &'static str)> {
    match error {
        WriteError::NoMember => Some((StatusCode::NOT_FOUND, "not_found")),
        WriteError::Rights { .. }
        | WriteError::NotAdmitted
        | WriteError::Cut
        | WriteError::RolledBack
        | WriteError::Waiting
        | WriteError::NoKey
        | WriteError::NotManager
        | WriteError::NotOwner
        | WriteError::ClientTaken => Some((StatusCode::FORBIDDEN, "forbidden")),
        _ => None,
    }
}

/// An error with everything behind it, each thing said once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut said = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push(error.to_string());
        cause = error.source();
    }
    said.dedup();
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_lies_deepest() {
        let full = FeedError::Storage { doing: "append to the log", source: StorageError::Full };
        let problem = Problem::from(cloudpal_bee::WriteError::Append(full));
        assert_eq!((problem.status, problem.code), (StatusCode::INSUFFICIENT_STORAGE, "full"));
        assert!(
            problem
                .message
                .starts_with("cannot append to the bee: cannot append to the log: the disk is full")
        );
        let past = Problem::from(FeedError::OutOfRange { index: 9, length: 3 });
        assert_eq!((past.status, past.code), (StatusCode::NOT_FOUND, "not_found"));
        assert!(past.message.contains("no block 9"));
    }
}
