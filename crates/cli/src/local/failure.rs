//! How failures of the data crates become exit codes. Their messages are sentences for the person already.

use super::databases;
use crate::failure::{Exit, Failure};
use cloudpal_log::FeedError;
use cloudpal_shelf::ShelfError;
use cloudpal_swarm::StartError;
use std::error::Error;

/// A failure of the data crates with the exit code that its innermost cause leads to.
pub fn failed(error: impl Error + Send + Sync + 'static) -> Failure {
    Failure::lift(exit(&error), error)
}

impl From<ShelfError> for Failure {
    fn from(error: ShelfError) -> Self {
        failed(error)
    }
}

fn exit(error: &(dyn Error + 'static)) -> Exit {
    if let Some(exit) = databases::exit(error) {
        return exit;
    }
    if let Some(feed) = error.downcast_ref::<FeedError>() {
        match feed {
            FeedError::Unavailable { .. } => return Exit::Unreachable,
            FeedError::OutOfRange { .. } => return Exit::NotFound,
            FeedError::NotWritable => return Exit::Refused,
            _ => {}
        }
    }
    if let Some(shelf) = error.downcast_ref::<ShelfError>() {
        match shelf {
            ShelfError::Unknown { .. } => return Exit::NotFound,
            ShelfError::Name { .. } | ShelfError::CompatEncrypted => return Exit::Usage,
            ShelfError::Taken { .. } | ShelfError::Known { .. } => return Exit::WouldLose,
            _ => {}
        }
    }
    if error.is::<cloudpal_store::ConnectError>() {
        return Exit::Unreachable;
    }
    if let Some(start) = error.downcast_ref::<StartError>() {
        match start {
            StartError::Address(_) => return Exit::Usage,
            StartError::Silent(_) => return Exit::Unreachable,
            _ => {}
        }
    }
    if error.is::<cloudpal_drive::PathError>() {
        return Exit::Usage;
    }
    error.source().map_or(Exit::Failed, exit)
}
