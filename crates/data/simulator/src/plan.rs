use crate::dice::Dice;
use crate::disk::Disk;
use cloudpal_db::{Batch, Kind, ReadError, Span, Sub, Unit, View};
use serde_json::json;
use std::ops::Bound;

/// A few sub-databases of each kind, so that devices meet in them.
pub(crate) fn sub(dice: &mut Dice) -> Sub {
    let name = *dice.pick(&["", "a", "a/b", "ab"]);
    Sub::new(name, *dice.pick(&Kind::ALL)).unwrap_or_else(|_| Sub::root())
}

/// A random batch over few keys.
pub(crate) fn batch(dice: &mut Dice, view: &View<Disk>) -> Result<Batch, ReadError> {
    let mut batch = Batch::new();
    for _ in 0..=dice.below(4) {
        let sub = sub(dice);
        edit(dice, &mut batch, &sub);
    }
    if dice.one_in(10) {
        let sub = Sub::root();
        let key = key(dice);
        let value = if dice.one_in(4) { Some("other".into()) } else { view.get(&sub, key.as_bytes())? };
        batch.expect(&sub, key, value);
    }
    Ok(batch)
}

fn edit(dice: &mut Dice, batch: &mut Batch, sub: &Sub) {
    let key = key(dice);
    if dice.one_in(6) {
        batch.del(sub, key);
        return;
    }
    if dice.one_in(25) {
        let (from, to) = (self::key(dice), self::key(dice));
        batch.clear(sub, (Bound::Included(from.as_bytes()), Bound::Excluded(to.as_bytes())));
        return;
    }
    match sub.kind() {
        Kind::Register => {
            let size = if dice.one_in(60) { 1_200_000 } else { dice.below(40) as usize };
            let value = vec![b'a' + dice.below(26) as u8; size];
            batch.put(sub, key, value);
        }
        Kind::Json => {
            if dice.one_in(12) {
                batch.index(sub, *dice.pick(&["x", "y.z"]));
            }
            if dice.one_in(3) {
                batch.patch(sub, key, document(dice, 2).to_string());
            } else {
                batch.put(sub, key, document(dice, 3).to_string());
            }
        }
        Kind::Set => {
            // One begins with the other, and one is empty.
            let member = (*dice.pick(&["", "m", "m1", "m10", "n\0"])).to_owned();
            match dice.below(4) {
                0 => batch.exclude(sub, key, member),
                1 => batch.put(sub, key, json!([member, "m1", "m"]).to_string()),
                _ => batch.include(sub, key, member),
            };
        }
        Kind::Counter => {
            batch.add(sub, key, dice.below(20) as i64 - 8);
        }
        Kind::Text => {
            let words = ["tea ", "and ", "größe ", "x", ""];
            let text: String = (0..dice.below(6)).map(|_| *dice.pick(&words)).collect();
            if dice.one_in(2) {
                batch.put(sub, key, text);
            } else {
                batch.put(sub, key.clone(), format!("{text}!"));
                batch.splice(sub, key, Span { at: 0, length: 0, unit: Unit::Utf8 }, "<");
            }
        }
    }
}

fn key(dice: &mut Dice) -> String {
    (*dice.pick(&["", "k", "k\0", "k1", "l", "m\u{1}"])).to_owned()
}

fn document(dice: &mut Dice, depth: u64) -> serde_json::Value {
    match dice.below(if depth == 0 { 3 } else { 6 }) {
        0 => json!(dice.below(5)),
        1 => json!(null),
        2 => json!(format!("t{}", dice.below(3))),
        3 => serde_json::Value::Array((0..dice.below(4)).map(|_| document(dice, depth - 1)).collect()),
        _ => {
            let fields = ["x", "y", "z"];
            let count = dice.below(4);
            let fields = (0..count).map(|_| ((*dice.pick(&fields)).to_owned(), document(dice, depth - 1)));
            serde_json::Value::Object(fields.collect())
        }
    }
}
