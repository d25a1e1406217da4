//! What logs, maps and drives have in common: making, listing, and telling how they are.

use super::args::{At, Create, One};
use super::{Desk, Place, finish};
use crate::failure::{Exit, Failure};
use crate::person::{self, write_private};
use crate::remote;
use crate::terminal::Report;
use crate::told;
use cloudpal_core::Secret;
use cloudpal_shelf::json::described;
use cloudpal_shelf::{Item, Kind, Made, Shelf, Wish};
use serde_json::{Value, json};
use std::path::Path;
use zeroize::Zeroizing;

/// `create`.
pub fn create(desk: Desk<'_>, kind: Kind, wanted: &Create) -> Result<(), Failure> {
    let encryption = match (wanted.encrypt, &wanted.encryption_key) {
        (false, _) => None,
        (true, None) => Some(Secret::new(person::random()?)),
        (true, Some(file)) => Some(key_in(file)?),
    };
    match desk.open_or_make(&wanted.at)? {
        Place::Folder(shelf) => {
            let wish = Wish { name: wanted.name.clone(), compat: wanted.compat, encryption, copy_of: None };
            let made = shelf.create(kind, &wish)?;
            let is_new = matches!(made, Made::New(_));
            let item = made.into_item();
            let mut json = about(&shelf, &item)?;
            // In a file, or told once: whoever is to read it elsewhere needs it.
            if let (true, None, Some(key)) = (is_new, &wanted.encryption_key, item.encryption_key()) {
                json["encryption_key"] = json!(hex::encode(key.expose()));
            }
            finish(desk, shelf, &Report::new(told::created(&json), json))
        }
        Place::Pal(pal) => {
            let encryption_key = match &wanted.encryption_key {
                Some(_) => encryption.map(|key| Zeroizing::new(hex::encode(key.expose()))),
                None => None,
            };
            let wish = remote::logs::Wish {
                name: wanted.name.clone(),
                compat: wanted.compat,
                encrypt: wanted.encrypt,
                encryption_key,
                key: None,
            };
            desk.terminal.print(&remote::logs::create(&pal, kind, &wish)?)
        }
    }
}

/// The encryption key in a file; a new one for a file that is not there.
pub fn key_in(file: &Path) -> Result<Secret<32>, Failure> {
    if let Some(text) = person::read(file)?.map(Zeroizing::new) {
        let mut key = Zeroizing::new([0; 32]);
        return match hex::decode_to_slice(text.trim_ascii(), &mut *key) {
            Ok(()) => Ok(Secret::new(*key)),
            Err(_) => {
                let message =
                    format!("{} holds no encryption key: that is 64 hexadecimal digits", file.display());
                Err(Failure::new(Exit::Usage, message))
            }
        };
    }
    let key = Secret::new(person::random()?);
    write_private(file, Zeroizing::new(hex::encode(key.expose())).as_bytes())?;
    Ok(key)
}

/// `list`.
pub fn list(desk: Desk<'_>, kind: Kind, at: &At) -> Result<(), Failure> {
    match desk.open(at)? {
        Place::Folder(shelf) => {
            let mut all = Vec::new();
            for item in shelf.list(kind)? {
                all.push(about(&shelf, &item)?);
            }
            let rows: Vec<_> = all.iter().map(told::row).collect();
            finish(desk, shelf, &Report::new(told::list(kind, &rows), json!({ kind.plural(): all })))
        }
        Place::Pal(pal) => desk.terminal.print(&remote::logs::list(&pal, kind)?),
    }
}

/// `info`.
pub fn info(desk: Desk<'_>, kind: Kind, one: &One) -> Result<(), Failure> {
    match desk.open(&one.at)? {
        Place::Folder(shelf) => {
            let json = about(&shelf, &shelf.find(kind, &one.name)?)?;
            finish(desk, shelf, &Report::new(told::thing(&json), json))
        }
        Place::Pal(pal) => desk.terminal.print(&remote::logs::info(&pal, kind, &one.name)?),
    }
}

/// A thing in numbers, with the same names as a pal's interface uses.
pub fn about(shelf: &Shelf, item: &Item) -> Result<Value, Failure> {
    Ok(described(item, &shelf.log(item)?.info()))
}
