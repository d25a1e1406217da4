//! Making and listing databases.

use super::args::Name;
use super::room::House;
use crate::command::data::Desk;
use crate::command::data::args::At;
use crate::failure::Failure;
use crate::local::failure::failed;
use crate::printable::word;
use crate::remote::databases;
use crate::terminal::Report;
use crate::told::text;
use cloudpal_base::{Database, OpenError};
use cloudpal_serve::owner::{self, Made, is_founder};
use serde_json::{Value, json};

/// `create`. To make what one has made already changes nothing.
pub fn create(desk: Desk<'_>, wanted: &Name) -> Result<(), Failure> {
    let made = match House::open_or_make(desk, &wanted.at)? {
        House::Folder(store) => {
            let (base, made) = match Database::create(&store, &wanted.name) {
                Ok(base) => (base, Made::Now),
                Err(OpenError::Exists(name)) => {
                    let base = Database::open(&store, &name).map_err(failed)?;
                    if !is_founder(&base) {
                        return Err(failed(OpenError::Exists(name)));
                    }
                    (base, Made::Before)
                }
                Err(error) => return Err(failed(error)),
            };
            let told = owner::created(&base, made);
            base.close().map_err(failed)?;
            drop(base);
            store.close().map_err(failed)?;
            told
        }
        House::Pal(pal) => databases::make(&pal, &wanted.name, None)?,
    };
    let text = format!(
        "database {} is ready. Its key, for your other devices (`cloudpal db join`):\n  key  {}",
        word(text(&made, "name")),
        text(&made, "key")
    );
    desk.terminal.print(&Report::new(text, made))
}

/// `list`.
pub fn list(desk: Desk<'_>, at: &At) -> Result<(), Failure> {
    let all = match House::open(desk, at)? {
        House::Folder(store) => {
            let names = Database::names(&store).map_err(failed)?;
            store.close().map_err(failed)?;
            json!({ "databases": names })
        }
        House::Pal(pal) => databases::list(&pal)?,
    };
    let names: Vec<_> =
        all["databases"].as_array().into_iter().flatten().filter_map(Value::as_str).map(word).collect();
    let text = match names.is_empty() {
        true => "Nothing yet; make one with `cloudpal db create NAME`.".to_owned(),
        false => names.join("\n"),
    };
    desk.terminal.print(&Report::new(text, all))
}
