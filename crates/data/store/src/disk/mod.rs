//! Where the bytes lie: one engine for all logs, encrypted, beside a second place for lengths.

mod contents;
mod crypt;
mod engine;
mod fault;
mod format;
mod group;
mod journal;
mod lengths;
mod lists;
mod maintain;
mod parcel;
mod place;
mod reserve;
mod rooms;
mod salvage;
mod second;
mod space;
mod storage;
mod tables;
mod tail;

pub(crate) use crypt::{Crypt, OVERHEAD};
pub(crate) use engine::{Engine, Write};
pub(crate) use fault::file_fault;
pub(crate) use format::Folder;
pub use format::FormatError;
pub(crate) use group::Ticket;
pub(crate) use journal::{check as check_journal, salvage};
pub(crate) use lengths::{Known, Lengths, LogId, Mark};
pub(crate) use place::Place;
pub(crate) use space::{Space, folder_bytes};
pub(crate) use storage::{LogStorage, peek};
