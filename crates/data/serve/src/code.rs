//! What can go wrong, by a code for programs and a sentence for people.

use axum::http::StatusCode;
use std::error::Error;

/// Why a request was not done. Numbers and names never change once released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Code {
    /// The bytes are no message of this protocol; the connection ends.
    Malformed = 1,
    /// No version of the protocol that both sides speak; the connection ends.
    Version = 2,
    /// No token, an unknown one, or one that has expired; the connection ends.
    Unauthorized = 3,
    /// The token does not reach so far.
    Forbidden = 4,
    /// A key, a value, a batch or an answer is larger than allowed.
    TooLarge = 5,
    /// Too many snapshots, subscriptions or requests at a time.
    TooMany = 6,
    /// The snapshot was released, or was made on a connection that is gone.
    NoSnapshot = 7,
    /// The sub-database does not exist.
    Missing = 8,
    /// The sub-database exists already.
    Exists = 9,
    /// A condition of the batch does not hold; nothing of it was written.
    Condition = 10,
    /// The request makes no sense for this kind of sub-database, or its values are not right for it.
    Invalid = 11,
    /// There is no such entry, database or page.
    NotFound = 12,
    /// The changes after this cursor are no longer kept, or the cursor is of another replica.
    CursorGone = 13,
    /// The database did not do it; the message says why.
    Failed = 14,
}

impl Code {
    /// All of them.
    pub const ALL: [Code; 14] = [
        Code::Malformed,
        Code::Version,
        Code::Unauthorized,
        Code::Forbidden,
        Code::TooLarge,
        Code::TooMany,
        Code::NoSnapshot,
        Code::Missing,
        Code::Exists,
        Code::Condition,
        Code::Invalid,
        Code::NotFound,
        Code::CursorGone,
        Code::Failed,
    ];

    /// As JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Code::Malformed => "malformed",
            Code::Version => "version",
            Code::Unauthorized => "unauthorized",
            Code::Forbidden => "forbidden",
            Code::TooLarge => "too_large",
            Code::TooMany => "too_many",
            Code::NoSnapshot => "no_snapshot",
            Code::Missing => "missing",
            Code::Exists => "exists",
            Code::Condition => "condition",
            Code::Invalid => "invalid",
            Code::NotFound => "not_found",
            Code::CursorGone => "cursor_gone",
            Code::Failed => "failed",
        }
    }

    /// As HTTP has it.
    pub const fn status(self) -> StatusCode {
        match self {
            Code::Malformed | Code::Version | Code::Invalid => StatusCode::BAD_REQUEST,
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Code::NoSnapshot | Code::CursorGone => StatusCode::GONE,
            Code::Missing | Code::NotFound => StatusCode::NOT_FOUND,
            Code::Exists | Code::Condition => StatusCode::CONFLICT,
            Code::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether a connection cannot go on after it.
    pub const fn ends_connection(self) -> bool {
        matches!(self, Code::Malformed | Code::Version | Code::Unauthorized)
    }
}

/// A code with its sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// For people: what was tried, and what they can do.
    pub message: String,
}

impl Failure {
    /// A failure with a sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Failure { code, message: message.into() }
    }

    /// What the database said, with its causes.
    pub(crate) fn of_database(error: &(dyn Error + 'static)) -> Self {
        let (mut message, mut cause) = (error.to_string(), error.source());
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        Failure::new(Code::Failed, message)
    }
}
