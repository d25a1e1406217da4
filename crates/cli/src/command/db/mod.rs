//! `cloudpal db`: multi-writer databases in a folder of this machine (`--store DIR`), or of a running pal.
//!
//! - [`args`]: the command line; `time`, `bytes`: what people write on it.
//! - `room`: a database of a folder, opened and closed well, or of a pal: both do the same.
//! - `names`, `members`, `progress`: which databases there are, who belongs to them, how far they are.
//! - `entries`, `values`: putting, getting, deleting, scanning, finding.
//! - `conflicts`, `past`: what came together, and what was before.
//! - `checkpoint`: what new devices begin with, and forgetting what lies before it.
//! - `serve`: databases for programs and pages, and their tokens.
//! - `sync`: two devices that meet; `transfer`: files and LevelDB folders.
//! - `told`: batches, conflicts and members in words.

pub mod args;
mod bytes;
mod checkpoint;
mod conflicts;
mod entries;
mod members;
mod names;
mod past;
mod progress;
mod room;
mod serve;
mod sync;
mod time;
mod told;
mod transfer;
mod values;

use super::data::Desk;
use crate::failure::Failure;
use args::DbCommand;
use values::Move;

/// `cloudpal db`.
pub fn run(desk: Desk<'_>, command: DbCommand) -> Result<(), Failure> {
    match command {
        DbCommand::Create(wanted) => names::create(desk, &wanted),
        DbCommand::Join(wanted) => members::join(desk, &wanted),
        DbCommand::List(at) => names::list(desk, &at),
        DbCommand::Info(wanted) => members::info(desk, &wanted),
        DbCommand::Put(wanted) => entries::put(desk, wanted),
        DbCommand::Get(wanted) => match wanted.when {
            Some(when) => past::get_at(desk, &wanted.place, when),
            None => entries::get(desk, &wanted.place),
        },
        DbCommand::Del(wanted) => entries::del(desk, &wanted.place, wanted.lasting),
        DbCommand::Add(wanted) => values::add(desk, &wanted),
        DbCommand::Include(wanted) => values::set(desk, &wanted, Move::In),
        DbCommand::Exclude(wanted) => values::set(desk, &wanted, Move::Out),
        DbCommand::Patch(wanted) => values::patch(desk, &wanted),
        DbCommand::Splice(wanted) => values::splice(desk, &wanted),
        DbCommand::Scan(wanted) => entries::scan(desk, &wanted),
        DbCommand::Index(wanted) => values::index(desk, &wanted),
        DbCommand::Find(wanted) => values::find(desk, &wanted),
        DbCommand::Watch(wanted) => past::watch(desk, &wanted),
        DbCommand::Conflicts(wanted) => conflicts::list(desk, &wanted),
        DbCommand::Resolve(wanted) => conflicts::resolve(desk, &wanted),
        DbCommand::History(place) => past::history(desk, &place),
        DbCommand::Undo(wanted) => past::undo(desk, &wanted),
        DbCommand::Checkpoint(wanted) => checkpoint::make(desk, &wanted),
        DbCommand::Forget(wanted) => checkpoint::forget(desk, &wanted),
        DbCommand::Members(wanted) => members::run(desk, &wanted),
        DbCommand::Renew(wanted) => members::renew(desk, &wanted),
        DbCommand::Listen(wanted) => sync::listen(desk, &wanted),
        DbCommand::Sync(wanted) => sync::sync(desk, &wanted),
        DbCommand::Serve(wanted) => serve::run(desk, &wanted),
        DbCommand::Token(command) => serve::token::run(desk, command),
        DbCommand::Import(wanted) => transfer::import(desk, &wanted),
        DbCommand::Export(wanted) => transfer::export(desk, &wanted),
    }
}
