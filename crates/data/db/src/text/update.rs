//! Which updates of a text are taken in: those that a device of ours makes, and no others that `yrs` would read too.
//!
//! An update of ours inserts characters under its writer's own id, behind and before characters that are named, and deletes some.
//! What else the format has (maps, embedded documents, moves, other writers' ids) has no place in a text, and to take it in would mean
//! to trust a large library with bytes that somebody made up to break it.
//!
//! Format: version 1 of the updates of Yjs 13, `src/utils/updates.js`.

use super::NAME;
use crate::ClientId;

const ORIGIN: u8 = 0x80;
const RIGHT_ORIGIN: u8 = 0x40;
const STRING: u8 = 4;
/// Characters of one writer in one text, at most, and so the end of all places in it.
const CLOCK: u64 = 1 << 31;

/// Whether bytes from outside are an update that `client` can have made.
pub(crate) fn is_update(bytes: &[u8], client: ClientId) -> bool {
    let mut input = Input(bytes);
    inserts(&mut input, client.get()).is_some() && deletions(&mut input).is_some() && input.0.is_empty()
}

fn inserts(input: &mut Input<'_>, own: u64) -> Option<()> {
    match input.number()? {
        0 => return Some(()),
        1 => {}
        _ => return None,
    }
    let count = input.number()?;
    let client = input.number()?;
    let mut clock = input.number()?;
    if client != own || count == 0 {
        return None;
    }
    for _ in 0..count {
        let info = input.byte()?;
        if info & !(ORIGIN | RIGHT_ORIGIN) != STRING {
            return None;
        }
        for flag in [ORIGIN, RIGHT_ORIGIN] {
            if info & flag != 0 {
                let (client, at) = (input.number()?, input.number()?);
                // It cannot lie beside itself or what comes later.
                if at >= CLOCK || client == own && at >= clock {
                    return None;
                }
            }
        }
        if info & (ORIGIN | RIGHT_ORIGIN) == 0 && (input.number()? != 1 || input.text()? != NAME) {
            return None;
        }
        let length = input.text()?.encode_utf16().count() as u64;
        clock = clock.checked_add(length).filter(|clock| length > 0 && *clock < CLOCK)?;
    }
    Some(())
}

fn deletions(input: &mut Input<'_>) -> Option<()> {
    for _ in 0..input.number()? {
        input.number()?;
        for _ in 0..input.number()? {
            let (from, length) = (input.number()?, input.number()?);
            from.checked_add(length).filter(|end| length > 0 && *end < CLOCK)?;
        }
    }
    Some(())
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// Seven bits a byte, the lowest first; below 2^53.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..53).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return (number < 1 << 53).then_some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Span, Unit};
    use crate::text::{replace, splice};
    use bytes::Bytes;

    #[test]
    fn what_is_made_here_is_taken_in_and_only_from_its_writer() {
        let (one, other) = (ClientId((1 << 48) - 1), ClientId(7));
        let mut updates: Vec<Bytes> = vec![];
        for (turn, text) in ["größe 🍵 tea", "tea", "", "x tea y", "x 🍵 y", "x 🍵 y"].iter().enumerate()
        {
            let client = if turn % 2 == 0 { one } else { other };
            let Some(update) = replace(&updates, client, text).unwrap() else { continue };
            assert!(is_update(&update, client), "{update:02x?}");
            assert!(!is_update(&update, ClientId(9)) || update[0] == 0);
            updates.push(update.into());
        }
        let update =
            splice(&updates, one, Span { at: 2, length: 4, unit: Unit::Utf8 }, "<>").unwrap().unwrap();
        assert!(is_update(&update, one));
        assert!(is_update(&[0, 0], one));
        assert!((0..update.len()).all(|end| !is_update(&update[..end], one)));
    }
}
