use crate::failure::Exit;
use cloudpal_base::{
    CheckpointError, HistoryError, MemberError, OpenError, ResolveError, WriteError, WriteFault,
};
use cloudpal_serve::owner::OwnerError;
use cloudpal_serve::token::BookError;
use std::error::Error;

/// The exit code that a failure of a database leads to, if it is one that says.
pub fn exit(error: &(dyn Error + 'static)) -> Option<Exit> {
    if let Some(error) = error.downcast_ref::<OwnerError>() {
        return match error {
            OwnerError::Usage(_) => Some(Exit::Usage),
            OwnerError::Open(error) => exit(error),
            OwnerError::Write(error) => exit(error),
            OwnerError::Resolve(error) => exit(error),
            OwnerError::Member(error) => exit(error),
            OwnerError::History(error) => exit(error),
            OwnerError::Checkpoint(error) => exit(error),
            OwnerError::Book(error) => exit(error),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<CheckpointError>() {
        return match error {
            CheckpointError::Refused(refused) => refusal(refused),
            CheckpointError::Open(error) => exit(error),
            CheckpointError::None => Some(Exit::NotFound),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<BookError>() {
        return match error {
            BookError::Unknown(_) => Some(Exit::NotFound),
            BookError::Kind(_) => Some(Exit::Usage),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<OpenError>() {
        return match error {
            OpenError::Exists(_) => Some(Exit::WouldLose),
            OpenError::Missing(_) => Some(Exit::NotFound),
            OpenError::Name => Some(Exit::Usage),
            _ => None,
        };
    }
    // Those that only pass on what is behind them name no source of their own.
    if let Some(error) = error.downcast_ref::<MemberError>() {
        return match error {
            MemberError::Refused(refused) => refusal(refused),
            MemberError::Write(fault) => exit(fault),
            MemberError::Unknown(_) => Some(Exit::NotFound),
            MemberError::Ambiguous(_) => Some(Exit::Usage),
            MemberError::Open(error) => exit(error),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<HistoryError>() {
        return match error {
            HistoryError::Unknown { .. } | HistoryError::Gone => Some(Exit::NotFound),
            HistoryError::Write(fault) => exit(fault),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<ResolveError>() {
        return match error {
            ResolveError::Missing => Some(Exit::NotFound),
            ResolveError::Changed => Some(Exit::Refused),
            ResolveError::Unknown | ResolveError::Part => Some(Exit::Usage),
            ResolveError::Write(fault) => exit(fault),
            _ => None,
        };
    }
    if let Some(WriteFault::Refused(refused)) = error.downcast_ref::<WriteFault>() {
        return refusal(refused);
    }
    None
}

fn refusal(error: &WriteError) -> Option<Exit> {
    match error {
        WriteError::Key(_)
        | WriteError::Value(_)
        | WriteError::Batch(_)
        | WriteError::Changes
        | WriteError::Unfit { .. }
        | WriteError::Change { .. } => Some(Exit::Usage),
        WriteError::Condition { .. }
        | WriteError::Rights { .. }
        | WriteError::NotAdmitted
        | WriteError::Cut
        | WriteError::RolledBack
        | WriteError::Waiting
        | WriteError::NoKey
        | WriteError::NotManager
        | WriteError::NotOwner
        | WriteError::ClientTaken => Some(Exit::Refused),
        WriteError::NoMember => Some(Exit::NotFound),
        _ => None,
    }
}
