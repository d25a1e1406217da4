//! How a command fails: an exit code that scripts can rely on and a sentence for the person.

use crate::credit::CreditError;
use crate::host::HostError;
use crate::person::{FileError, PersonError};
use crate::printable::word;
use crate::session::SessionError;
use cloudpal_core::{ParseIdError, ParseKeyError, VerifyError};
use cloudpal_protocol::api::ErrorCode;
use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// The documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// 1: it was tried and did not work.
    Failed = 1,
    /// 2: the command was used wrongly.
    Usage = 2,
    /// 3: no such pal, device or file.
    NotFound = 3,
    /// 4: refused: rights, credit, signature or a key that is not the pinned one.
    Refused = 4,
    /// 5: host, mint or pal does not answer.
    Unreachable = 5,
    /// 6: data or credit would be lost.
    WouldLose = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl From<ErrorCode> for Exit {
    fn from(code: ErrorCode) -> Exit {
        match code {
            ErrorCode::Malformed => Exit::Usage,
            ErrorCode::NotFound => Exit::NotFound,
            ErrorCode::Refused => Exit::Refused,
            ErrorCode::Unreachable => Exit::Unreachable,
            ErrorCode::Conflict | ErrorCode::Full | ErrorCode::Internal => Exit::Failed,
        }
    }
}

/// A command that did not reach its end: a sentence for the person, and what was behind it.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure that no lower layer reported.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: Some(message.into()), source: None }
    }

    /// With the error that led to it.
    pub fn because(
        exit: Exit,
        message: impl Into<String>,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Failure { exit, message: Some(message.into()), source: Some(Box::new(source)) }
    }

    /// A lower layer's error, which is a sentence for the person already.
    pub fn lift(exit: Exit, error: impl Error + Send + Sync + 'static) -> Self {
        Failure { exit, message: None, source: Some(Box::new(error)) }
    }

    /// The program's exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said: Vec<String> = self.message.iter().map(|message| word(message).into_owned()).collect();
        let mut source = self.source();
        while let Some(error) = source {
            said.push(word(&error.to_string()).into_owned());
            source = error.source();
        }
        // A transparent error says what the one behind it says.
        said.dedup();
        f.write_str(&said.join("\n  because: "))
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Failure::lift(error.exit(), error)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        Failure::lift(error.exit(), error)
    }
}

impl From<CreditError> for Failure {
    fn from(error: CreditError) -> Self {
        Failure::lift(error.exit(), error)
    }
}

impl From<PersonError> for Failure {
    fn from(error: PersonError) -> Self {
        Failure::lift(error.exit(), error)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Failure::lift(Exit::Failed, error)
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        Failure::lift(Exit::Refused, error)
    }
}

impl From<ParseIdError> for Failure {
    fn from(error: ParseIdError) -> Self {
        Failure::lift(Exit::Usage, error)
    }
}

impl From<ParseKeyError> for Failure {
    fn from(error: ParseKeyError) -> Self {
        Failure::lift(Exit::Usage, error)
    }
}
