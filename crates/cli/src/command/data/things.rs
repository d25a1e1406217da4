//! What logs, maps and drives have in common: making, listing, and telling how they are.

use super::args::{At, Create, One};
use super::{Desk, Place, finish};
use crate::failure::{Exit, Failure};
use crate::local::{Item, Kind, Shelf, Wish};
use crate::person::{self, write_private};
use crate::remote;
use crate::terminal::Report;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cloudpal_core::Secret;
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
    match desk.open(&wanted.at)? {
        Place::Folder(shelf) => {
            let wish = Wish { name: &wanted.name, compat: wanted.compat, encryption, copy_of: None };
            let item = shelf.create(kind, &wish)?;
            let json = about(&shelf, &item)?;
            let text = format!(
                "{} {} is ready. Its key, for those who are to read it:\n{}",
                kind.word(),
                item.name,
                keys(&json)
            );
            finish(desk, shelf, &Report::new(text, json))
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
            desk.terminal.print(&remote::logs::create(&pal, at_pal(kind), &wish)?)
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
            let line = |one: &Value| {
                format!("{:<24} {:>9} blocks  {}", text(one, "name"), one["length"], text(one, "key_z32"))
            };
            let text = match all.is_empty() {
                true => {
                    format!("Nothing yet; make one with `cloudpal {} create NAME --store DIR`.", kind.word())
                }
                false => all.iter().map(line).collect::<Vec<_>>().join("\n"),
            };
            let plural = format!("{}s", kind.word());
            finish(desk, shelf, &Report::new(text, json!({ plural: all })))
        }
        Place::Pal(pal) => desk.terminal.print(&remote::logs::list(&pal, at_pal(kind))?),
    }
}

/// `info`.
pub fn info(desk: Desk<'_>, kind: Kind, one: &One) -> Result<(), Failure> {
    match desk.open(&one.at)? {
        Place::Folder(shelf) => {
            let json = about(&shelf, &shelf.find(kind, &one.name)?)?;
            finish(desk, shelf, &Report::new(words(&json), json))
        }
        Place::Pal(pal) => desk.terminal.print(&remote::logs::info(&pal, at_pal(kind), &one.name)?),
    }
}

/// A kind as the module for pals calls it.
pub fn at_pal(kind: Kind) -> remote::logs::Kind {
    match kind {
        Kind::Log => remote::logs::Kind::Log,
        Kind::Bee => remote::logs::Kind::Bee,
        Kind::Drive => remote::logs::Kind::Drive,
    }
}

/// A thing in numbers, with the same names as a pal's interface uses.
pub fn about(shelf: &Shelf, item: &Item) -> Result<Value, Failure> {
    let info = shelf.log(item)?.info();
    let key = item.key()?;
    Ok(json!({
        "kind": item.kind,
        "name": item.name,
        "key": key.to_string(),
        "key_z32": key.z32(),
        "discovery_key": hex::encode(info.discovery_key),
        "compat": info.compat || item.compat,
        "encrypted": item.is_encrypted(),
        "copy": item.copy,
        "length": info.length,
        "byte_length": info.byte_length,
        "fork": info.fork,
        "contiguous": info.contiguous,
        "held": info.held,
        "held_bytes": info.held_bytes,
        "tree_hash": hex::encode(info.tree_hash),
        "writable": info.writable,
        "lost": info.lost.map(|lost| lost.to_string()),
        "conflict": info.conflict,
    }))
}

/// The same for a person.
pub fn words(about: &Value) -> String {
    let mut lines = vec![
        format!("{} {}", text(about, "kind"), text(about, "name")),
        keys(about),
        format!(
            "  length       {} blocks, {} bytes, fork {}",
            about["length"], about["byte_length"], about["fork"]
        ),
        format!("  held here    {} blocks, {} bytes", about["held"], about["held_bytes"]),
        format!("  tree hash    {}", text(about, "tree_hash")),
    ];
    for (name, what) in [
        ("compat", "signed as npm hypercore 10 does it"),
        ("encrypted", "encrypted"),
        ("copy", "a copy of someone else's"),
        ("conflict", "CONFLICT: its writer signed two histories"),
    ] {
        if about[name] == true {
            lines.push(format!("  {what}"));
        }
    }
    if let Some(lost) = about["lost"].as_str() {
        lines.push(format!("  LOST         {lost}"));
    }
    lines.join("\n")
}

/// The key in both forms.
pub fn keys(about: &Value) -> String {
    format!("  key          {}\n  key for npm  {}", text(about, "key"), text(about, "key_z32"))
}

/// A field that is text.
pub fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_default()
}

/// Puts bytes under `name` as text, or in base64 under `name_base64` when they are no text.
pub fn put_bytes(to: &mut Value, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => to[name] = json!(text),
        Err(_) => to[format!("{name}_base64")] = json!(STANDARD.encode(bytes)),
    }
}
