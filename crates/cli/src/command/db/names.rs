//! Making and listing databases.

use super::args::Name;
use super::room::{self, Room};
use crate::command::data::Desk;
use crate::command::data::args::At;
use crate::failure::Failure;
use crate::local::failure::failed;
use crate::printable::word;
use crate::terminal::Report;
use cloudpal_base::{Database, OpenError};
use serde_json::json;

/// `create`. To make what one has made already changes nothing.
pub fn create(desk: Desk<'_>, wanted: &Name) -> Result<(), Failure> {
    let store = room::open_or_make(desk, &wanted.at)?;
    let (base, made) = match Database::create(&store, &wanted.name) {
        Ok(base) => (base, true),
        Err(OpenError::Exists(name)) => {
            let base = Database::open(&store, &name).map_err(failed)?;
            if !is_founder(&base) {
                return Err(failed(OpenError::Exists(name)));
            }
            (base, false)
        }
        Err(error) => return Err(failed(error)),
    };
    let key = hex::encode(base.key());
    let text = format!(
        "database {} is ready. Its key, for your other devices (`cloudpal db join`):\n  key  {key}",
        word(&wanted.name)
    );
    let json = json!({ "name": wanted.name, "key": key, "created": made, "writer": base.me().to_string() });
    Room { store, base }.finish(desk, &Report::new(text, json))
}

fn is_founder(base: &Database) -> bool {
    base.find_member(&base.me().to_string()).is_ok_and(|me| me.writer().0 == base.key())
}

/// `list`.
pub fn list(desk: Desk<'_>, at: &At) -> Result<(), Failure> {
    let store = room::open(desk, at)?;
    let names = Database::names(&store).map_err(failed)?;
    store.close().map_err(failed)?;
    let text = match names.is_empty() {
        true => "Nothing yet; make one with `cloudpal db create NAME`.".to_owned(),
        false => names.iter().map(|name| word(name)).collect::<Vec<_>>().join("\n"),
    };
    desk.terminal.print(&Report::new(text, json!({ "databases": names })))
}
