//! Text that several people edit at once, by `yrs`.

mod update;

use crate::ClientId;
use crate::batch::{Span, Unit};
use crate::error::ReadError;
use bytes::Bytes;
use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, Text, TextRef, Transact, Update};

pub(crate) use update::is_update;

const NAME: &str = "text";

/// The text that `updates` come to.
pub(crate) fn read(updates: &[Bytes]) -> Result<String, ReadError> {
    let (doc, text) = load(updates, 0)?;
    let string = text.get_string(&doc.transact());
    Ok(string)
}

/// The update by which `client` turns what `updates` come to into `new`: one piece is replaced, from the first to the last
/// difference. None if there is none.
pub(crate) fn replace(updates: &[Bytes], client: ClientId, new: &str) -> Result<Option<Vec<u8>>, ReadError> {
    let (doc, text) = load(updates, client.get())?;
    let old = text.get_string(&doc.transact());
    if old == new {
        return Ok(None);
    }
    let same = |pair: &(char, char)| pair.0 == pair.1;
    let head: usize = old.chars().zip(new.chars()).take_while(same).map(|(char, _)| char.len_utf8()).sum();
    let rest = old[head..].chars().rev().zip(new[head..].chars().rev());
    let tail: usize = rest.take_while(same).map(|(char, _)| char.len_utf8()).sum();
    edit(&doc, &text, head, old.len() - tail - head, &new[head..new.len() - tail]).map(Some)
}

/// The update by which `client` takes `span` out and puts `insert` there; none if the text has no such place.
pub(crate) fn splice(
    updates: &[Bytes],
    client: ClientId,
    span: Span,
    insert: &str,
) -> Result<Option<Vec<u8>>, ReadError> {
    let (doc, text) = load(updates, client.get())?;
    let old = text.get_string(&doc.transact());
    let end = span.at.checked_add(span.length).and_then(|end| byte(&old, end, span.unit));
    match (byte(&old, span.at, span.unit), end) {
        (Some(at), Some(end)) => edit(&doc, &text, at, end - at, insert).map(Some),
        _ => Ok(None),
    }
}

/// The byte at a place of a text; none if it lies behind the end or within a character.
fn byte(text: &str, place: usize, unit: Unit) -> Option<usize> {
    match unit {
        Unit::Utf8 => text.is_char_boundary(place).then_some(place),
        Unit::Utf16 => {
            let mut left = place;
            for (at, char) in text.char_indices() {
                if left == 0 {
                    return Some(at);
                }
                left = left.checked_sub(char.len_utf16())?;
            }
            (left == 0).then_some(text.len())
        }
    }
}

fn edit(doc: &Doc, text: &TextRef, at: usize, remove: usize, insert: &str) -> Result<Vec<u8>, ReadError> {
    let number =
        |bytes: usize| u32::try_from(bytes).map_err(|_| ReadError::Text("it is too long".to_owned()));
    let (at, remove) = (number(at)?, number(remove)?);
    let mut change = doc.transact_mut();
    if remove > 0 {
        text.remove_range(&mut change, at, remove);
    }
    if !insert.is_empty() {
        text.insert(&mut change, at, insert);
    }
    Ok(change.encode_update_v1())
}

fn load(updates: &[Bytes], client: u64) -> Result<(Doc, TextRef), ReadError> {
    let doc = Doc::with_client_id(client);
    let text = doc.get_or_insert_text(NAME);
    let mut change = doc.transact_mut();
    for update in updates {
        let update = Update::decode_v1(update).map_err(|error| ReadError::Text(error.to_string()))?;
        change.apply_update(update).map_err(|error| ReadError::Text(error.to_string()))?;
    }
    drop(change);
    Ok((doc, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_the_unit_that_is_named() {
        let places = |unit| (0..9).map(|place| byte("aö🌿b", place, unit)).collect::<Vec<_>>();
        let utf8 = [Some(0), Some(1), None, Some(3), None, None, None, Some(7), Some(8)];
        assert_eq!(places(Unit::Utf8), utf8);
        let utf16 = [Some(0), Some(1), Some(3), None, Some(7), Some(8), None, None, None];
        assert_eq!(places(Unit::Utf16), utf16);
    }
}
