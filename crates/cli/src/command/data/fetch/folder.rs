//! Into a folder of this machine.

use super::sentence;
use super::way::Way;
use crate::command::data::Desk;
use crate::command::data::args::Fetch;
use crate::command::data::things::{about, key_in};
use crate::command::data::ticks::Ticks;
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use crate::local::stop::Stop;
use crate::terminal::Report;
use cloudpal_bee::Range as Keys;
use cloudpal_drive::Folder;
use cloudpal_log::Feed as _;
use cloudpal_shelf::Key;
use cloudpal_shelf::{Item, Kind, Shelf, Wish};
use cloudpal_store::Session;
use serde_json::{Value, json};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(200);

/// Brings what was asked for, and prints what came.
pub fn run(desk: Desk<'_>, kind: Kind, wanted: &Fetch, stop: Stop, shelf: Shelf) -> Result<(), Failure> {
    let item = item(&shelf, kind, wanted)?;
    let log = shelf.log(&item)?;
    let way = Way::find(desk, shelf.store(), wanted, &log)?;
    let mut journey = Journey { desk, shelf: &shelf, wanted, stop, way, began: Instant::now() };
    let report = journey.all(&item, &log)?;
    desk.terminal.print(&report)?;
    if wanted.live {
        journey.follow(&item, &log)?;
    }
    drop(journey);
    Ok(shelf.close()?)
}

/// What is fetched: known from before, or begun now.
fn item(shelf: &Shelf, kind: Kind, wanted: &Fetch) -> Result<Item, Failure> {
    if let Some(item) = shelf.look(kind, &wanted.key)? {
        return Ok(item);
    }
    let key: Key = wanted.key.parse().map_err(|error| Failure::lift(Exit::Usage, error))?;
    let short: String = key.z32().chars().take(8).collect();
    let name = wanted.name.clone().unwrap_or(short);
    let encryption = wanted.encryption_key.as_deref().map(key_in).transpose()?;
    let wish = Wish { name, compat: false, encryption, copy_of: Some(key) };
    Ok(shelf.create(kind, &wish)?.into_item())
}

struct Journey<'a> {
    desk: Desk<'a>,
    shelf: &'a Shelf,
    wanted: &'a Fetch,
    stop: Stop,
    way: Way<'a>,
    began: Instant,
}

impl Journey<'_> {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.wanted.patience)
    }

    /// Everything that there is now.
    fn all(&mut self, item: &Item, log: &Session) -> Result<Report, Failure> {
        let patience = self.patience();
        if !log.wait_current(patience) || (log.length() == 0 && log.peers() == 0) {
            return Err(self.way.led_nowhere(item.kind));
        }
        let blocks = self.wanted.blocks.as_ref().map_or(0..u64::MAX, |blocks| blocks.0.clone());
        let before = log.info();
        self.range(log, blocks.start..blocks.end.min(log.length()), "blocks")?;
        if item.kind == Kind::Drive && log.length() > 0 {
            self.contents(item)?;
        }
        let mut json = told(self.shelf, item, log)?;
        let after = log.info();
        json["fetched_blocks"] = json!(after.held.saturating_sub(before.held));
        json["fetched_bytes"] = json!(after.held_bytes.saturating_sub(before.held_bytes));
        json["took_ms"] = json!(self.began.elapsed().as_millis() as u64);
        Ok(Report::new(sentence(&json), json))
    }

    fn contents(&mut self, item: &Item) -> Result<(), Failure> {
        let contents = self.shelf.contents(item)?;
        // An empty drive's log of contents is told by nobody.
        if contents.wait_current(self.patience()) {
            self.range(&contents, 0..contents.length(), "blocks of files")?;
        }
        Ok(())
    }

    /// Asks for a range until it is here, Ctrl-C, or nothing has come for too long.
    fn range(&mut self, log: &Session, blocks: Range<u64>, what: &str) -> Result<(), Failure> {
        let fetch = log.fetch(blocks.clone()).map_err(failed)?;
        let mut ticks = Ticks::new(self.desk.app.progress);
        let (mut held, mut last) = (log.info().held, Instant::now());
        while !fetch.wait(LOOK) {
            let now = log.info().held;
            if now != held {
                (held, last) = (now, Instant::now());
            }
            ticks.tell(|| format!("{now} of {} {what} are here", log.length()));
            if self.stop.wait(Duration::ZERO) {
                return Err(Failure::new(Exit::Failed, "stopped; what came is kept, run it again to go on"));
            }
            if last.elapsed() > self.patience() {
                let message = format!(
                    "nothing came for {} s; {now} of {} {what} are here, run it again to go on",
                    self.wanted.patience,
                    blocks.end - blocks.start
                );
                return Err(Failure::new(Exit::Unreachable, message));
            }
            self.way.keep(self.shelf.store(), &self.stop);
        }
        Ok(())
    }

    /// Tells of every change until Ctrl-C; one line, or one JSON object, each.
    fn follow(&mut self, item: &Item, log: &Session) -> Result<(), Failure> {
        let _all = log.fetch(0..u64::MAX).map_err(failed)?;
        let contents = if item.kind == Kind::Drive { self.shelf.contents(item).ok() } else { None };
        let _contents = contents.as_ref().map(|log| log.fetch(0..u64::MAX)).transpose().map_err(failed)?;
        let mut seen = (log.fork(), log.length());
        while !self.stop.wait(Duration::ZERO) {
            let now = log.wait_change(seen, LOOK);
            if now != seen && log.info().contiguous == log.length() {
                seen = now;
                let json = told(self.shelf, item, log)?;
                self.desk.terminal.print(&Report::new(sentence(&json), json))?;
            }
            self.way.keep(self.shelf.store(), &self.stop);
        }
        Ok(())
    }
}

/// What is here now.
fn told(shelf: &Shelf, item: &Item, log: &Session) -> Result<Value, Failure> {
    let mut json = about(shelf, item)?;
    let complete = log.info().contiguous == log.length();
    json["complete"] = json!(complete);
    match item.kind {
        Kind::Bee if complete => {
            let entries = shelf.bee(item)?.range(Keys::all()).filter(Result::is_ok).count();
            json["entries"] = json!(entries);
        }
        Kind::Drive if complete => {
            let now = shelf.drive(item)?.now();
            let (mut files, mut bytes) = (0_u64, 0);
            for file in now.list(&Folder::root()).filter_map(Result::ok) {
                files += 1;
                bytes += now.byte_length(&file).unwrap_or_default();
            }
            json["files"] = json!(files);
            json["files_bytes"] = json!(bytes);
        }
        _ => {}
    }
    Ok(json)
}
