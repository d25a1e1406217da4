//! `cloudpal log`, `cloudpal bee` and `cloudpal drive`: data in a folder of this machine (`--store DIR`), or of a
//! running pal.

pub mod args;
mod bees;
mod drives;
mod fetch;
pub mod logs;
mod mirror;
mod serve;
mod table;
mod things;
pub mod ticks;

use crate::app::App;
use crate::failure::{Exit, Failure};
use crate::local;
use crate::remote::Remote;
use crate::terminal::{Report, Terminal};
use args::{At, BeeCommand, DriveCommand, LogCommand};
use cloudpal_shelf::{Kind, Shelf};

/// What commands have at hand.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// The person and somebody to tell.
    pub app: App<'a>,
    /// Where results go.
    pub terminal: &'a Terminal,
}

/// Where the data is, opened.
enum Place {
    Folder(Shelf),
    Pal(Remote),
}

impl Desk<'_> {
    /// Opens what is there already: a mistyped folder is not made.
    fn open(self, at: &At) -> Result<Place, Failure> {
        match &at.store {
            Some(dir) if !local::has_store(dir) => {
                let message = format!(
                    "there is no data in {} yet; `create` and `fetch` make the folder, is it the right one?",
                    dir.display()
                );
                Err(Failure::new(Exit::NotFound, message))
            }
            _ => self.open_or_make(at),
        }
    }

    fn open_or_make(self, at: &At) -> Result<Place, Failure> {
        match &at.store {
            Some(dir) => Ok(Place::Folder(local::open(self.app.person, dir)?)),
            None => self.pal(at).map(Place::Pal),
        }
    }

    /// The pal: through a tunnel, or where its page is.
    pub fn pal(self, at: &At) -> Result<Remote, Failure> {
        if let Some(url) = at.pal.as_deref().filter(|pal| pal.starts_with("http://")) {
            return Ok(Remote::on(url));
        }
        if self.app.person.is_set_up() {
            return Remote::reach(self.app, at.pal.as_deref());
        }
        let message = "say in which folder the data is with --store DIR, or set up a pal first with \
                       `cloudpal init` and `cloudpal create`";
        Err(Failure::new(Exit::NotFound, message))
    }
}

/// `cloudpal log`.
pub fn log(desk: Desk<'_>, command: LogCommand) -> Result<(), Failure> {
    match command {
        LogCommand::Create(wish) => things::create(desk, Kind::Log, &wish),
        LogCommand::Info(one) => things::info(desk, Kind::Log, &one),
        LogCommand::List(at) => things::list(desk, Kind::Log, &at),
        LogCommand::Serve(wish) => serve::run(desk, Kind::Log, &wish),
        LogCommand::Fetch(wish) => fetch::run(desk, Kind::Log, &wish),
        other => logs::run(desk, other),
    }
}

/// `cloudpal bee`.
pub fn bee(desk: Desk<'_>, command: BeeCommand) -> Result<(), Failure> {
    match command {
        BeeCommand::Create(wish) => things::create(desk, Kind::Bee, &wish),
        BeeCommand::Info(one) => things::info(desk, Kind::Bee, &one),
        BeeCommand::List(at) => things::list(desk, Kind::Bee, &at),
        BeeCommand::Serve(wish) => serve::run(desk, Kind::Bee, &wish),
        BeeCommand::Fetch(wish) => fetch::run(desk, Kind::Bee, &wish),
        other => bees::run(desk, other),
    }
}

/// `cloudpal drive`.
pub fn drive(desk: Desk<'_>, command: DriveCommand) -> Result<(), Failure> {
    match command {
        DriveCommand::Create(wish) => things::create(desk, Kind::Drive, &wish),
        DriveCommand::Info(one) => things::info(desk, Kind::Drive, &one),
        DriveCommand::List(at) => things::list(desk, Kind::Drive, &at),
        DriveCommand::Serve(wish) => serve::run(desk, Kind::Drive, &wish),
        DriveCommand::Fetch(wish) => fetch::run(desk, Kind::Drive, &wish),
        other => drives::run(desk, other),
    }
}

/// Prints a result after the folder was closed well: what did not reach the disk is not reported as done.
fn finish(desk: Desk<'_>, shelf: Shelf, report: &Report) -> Result<(), Failure> {
    shelf.close()?;
    desk.terminal.print(report)
}
