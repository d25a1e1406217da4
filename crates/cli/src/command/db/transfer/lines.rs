//! A key a line: `{"key": "tea", "value": "green"}`, with `key_base64` and `value_base64` for what is no text, and with `sub` and `kind`
//! for sub-databases. A document or set may stand as JSON of its own, too.

use super::writer::Importer;
use crate::command::db::args::Part;
use crate::command::db::room::Room;
use crate::failure::{Exit, Failure};
use crate::printable;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cloudpal_base::{Kind, Sub, limits};
use cloudpal_serve::json::tell;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::io::{self, BufRead, Read, Write};

/// The longest line: key and value in base64, or with every character escaped.
const MAX_LINE: u64 = 8 * (limits::MAX_KEY + limits::MAX_VALUE) as u64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    sub: Option<String>,
    kind: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<Value>,
    value_base64: Option<String>,
}

/// Writes one key.
pub fn write(out: &mut dyn Write, sub: &Sub, key: &[u8], value: &[u8]) -> io::Result<()> {
    let mut line = Map::new();
    if *sub != Sub::root() {
        line.insert("sub".into(), json!(sub.name()));
        line.insert("kind".into(), json!(sub.kind().name()));
    }
    tell(&mut line, "key", key);
    tell(&mut line, "value", value);
    writeln!(out, "{}", printable::json(&line.into()))
}

/// Puts in all lines of `source`; lines that name no sub-database go to `part`.
pub fn read(
    source: &mut dyn BufRead,
    room: &Room,
    part: &Part,
    importer: &mut Importer<'_>,
) -> Result<(), Failure> {
    let usual = room.sub(part, Kind::Register)?;
    let mut text = Vec::new();
    for number in 1_u64.. {
        text.clear();
        let unread = |error| Failure::because(Exit::Failed, "what is to be imported cannot be read", error);
        if (&mut *source).take(MAX_LINE).read_until(b'\n', &mut text).map_err(unread)? == 0 {
            break;
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        one(&text, &usual, importer).map_err(|why| match why {
            Wrong::Line(why) => {
                let message = format!(
                    "line {number} is no entry: {why}; the lines before it are imported, so correct it and run it again"
                );
                Failure::new(Exit::Usage, message)
            }
            Wrong::Write(failure) => failure,
        })?;
    }
    Ok(())
}

enum Wrong {
    Line(String),
    Write(Failure),
}

fn one(text: &[u8], usual: &Sub, importer: &mut Importer<'_>) -> Result<(), Wrong> {
    let wrong = |why: &dyn ToString| Wrong::Line(why.to_string());
    let line: Line = serde_json::from_slice(text).map_err(|error| wrong(&error))?;
    let sub = match (line.sub, line.kind) {
        (None, None) => usual.clone(),
        (name, kind) => {
            let kind = match kind {
                Some(kind) => kind.parse().map_err(|error| wrong(&error))?,
                None => Kind::Register,
            };
            Sub::new(name.unwrap_or_default(), kind).map_err(|error| wrong(&error))?
        }
    };
    let decode = |base64: String| STANDARD.decode(base64).map(Bytes::from).map_err(|error| wrong(&error));
    let key = match (line.key, line.key_base64) {
        (Some(key), None) => Bytes::from(key),
        (None, Some(base64)) => decode(base64)?,
        _ => return Err(wrong(&"it has either key or key_base64")),
    };
    let value = match (line.value, line.value_base64) {
        (Some(Value::String(text)), None) => Bytes::from(text),
        (Some(value), None) if matches!(sub.kind(), Kind::Json | Kind::Set | Kind::Counter) => {
            value.to_string().into()
        }
        (Some(_), None) => return Err(wrong(&format!("the value of {sub} is text, in quotation marks"))),
        (None, Some(base64)) => decode(base64)?,
        _ => return Err(wrong(&"it has either value or value_base64")),
    };
    importer.put(&sub, key, value).map_err(Wrong::Write)
}
