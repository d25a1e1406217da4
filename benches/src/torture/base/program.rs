//! What the database is told: batches that follow from a seed, and what each of their changes comes to.

use super::Batches;
use super::show::Shown;
use crate::chance::Chance;
use cloudpal_base::{Batch, Durability, Kind, Sub};
use serde_json::{Value, json};
use std::ops::Bound;

/// One change of a batch.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Makes a key show a value.
    Put(Room, String, Value),
    /// Removes a key.
    Del(Room, String),
    /// Removes the keys from the first up to the second.
    Clear(Room, String, String),
    /// Changes fields of a document.
    Patch(String, Value),
    /// Takes a member into a set, or out of it.
    Include(String, String),
    Exclude(String, String),
    /// Adds to a counter.
    Add(String, i64),
}

/// The sub-databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    Root,
    Things,
    Notes,
    Tags,
    Counts,
    Texts,
}

/// The field of documents that has an index, and what it says.
pub const INDEXED: &str = "kind";
pub const KINDS: [&str; 3] = ["bread", "soup", "tea"];

/// Different in every state.
pub const LAST: &str = "last";

const KEYS: u64 = 24;
const EDITS: u64 = 10;

impl Room {
    pub const ALL: [Room; 6] = [Room::Root, Room::Things, Room::Notes, Room::Tags, Room::Counts, Room::Texts];

    #[expect(clippy::expect_used, reason = "these names are good ones")]
    pub fn sub(self) -> Sub {
        let (name, kind) = match self {
            Room::Root => ("", Kind::Register),
            Room::Things => ("app/things", Kind::Register),
            Room::Notes => ("notes", Kind::Json),
            Room::Tags => ("tags", Kind::Set),
            Room::Counts => ("counts", Kind::Counter),
            Room::Texts => ("texts", Kind::Text),
        };
        Sub::new(name, kind).expect("a good name")
    }
}

impl Batches {
    /// How a step is written.
    pub fn durability(&self, number: u64) -> Durability {
        let lasts = Chance::of(self.seed ^ 0x1a57, number).once_in(3);
        if lasts { Durability::Durable } else { Durability::Relaxed }
    }

    /// The changes of a step.
    pub fn step(&self, number: u64) -> Vec<Edit> {
        let mut chance = Chance::of(self.seed, number);
        let count = chance.below(EDITS);
        let mut edits: Vec<Edit> = (0..count).map(|_| self.edit(&mut chance)).collect();
        edits.push(Edit::Put(Room::Root, LAST.into(), json!(number.to_string())));
        edits.push(Edit::Add("steps".into(), 1));
        edits
    }

    fn edit(&self, chance: &mut Chance) -> Edit {
        let key = format!("k{:02}", chance.below(KEYS));
        match chance.below(16) {
            0..3 => Edit::Put(Room::Things, key, self.text(chance)),
            3..5 => Edit::Put(Room::Notes, key, self.document(chance)),
            5 => {
                Edit::Patch(key, json!({ "n": chance.below(100), INDEXED: KINDS[chance.below(3) as usize] }))
            }
            6 => Edit::Patch(key, json!({ "n": chance.below(100), "body": null })),
            7 | 8 => Edit::Include(key, format!("m{}", chance.below(8))),
            9 => Edit::Exclude(key, format!("m{}", chance.below(8))),
            10 | 11 => Edit::Add(key, 1 + chance.below(50) as i64),
            12 => Edit::Put(Room::Texts, key, self.text(chance)),
            13 | 14 => {
                let room = Room::ALL[1 + chance.below(5) as usize];
                Edit::Del(room, key)
            }
            _ => {
                let room = Room::ALL[1 + chance.below(5) as usize];
                let first = chance.below(KEYS);
                Edit::Clear(room, format!("k{first:02}"), format!("k{:02}", first + chance.below(6)))
            }
        }
    }

    fn document(&self, chance: &mut Chance) -> Value {
        let kind = KINDS[chance.below(3) as usize];
        json!({ INDEXED: kind, "n": chance.below(100), "body": self.text(chance) })
    }

    /// Mostly short; never empty.
    fn text(&self, chance: &mut Chance) -> Value {
        let length = 1 + if chance.once_in(6) { chance.below(self.longest) } else { chance.below(40) };
        let bytes = chance.bytes(length as usize);
        bytes.iter().map(|byte| char::from(b'a' + byte % 26)).collect::<String>().into()
    }
}

impl Edit {
    /// What it comes to.
    pub fn change(&self, state: &mut Shown) {
        match self {
            Edit::Put(room, key, value) => drop(state.insert((*room, key.clone()), value.clone())),
            Edit::Del(room, key) => drop(state.remove(&(*room, key.clone()))),
            Edit::Clear(room, from, to) => {
                let within = |key: &(Room, String)| key.0 == *room && from <= &key.1 && &key.1 < to;
                state.retain(|key, _| !within(key));
            }
            Edit::Patch(key, patch) => {
                let document = state.entry((Room::Notes, key.clone())).or_insert_with(|| json!({}));
                for (field, value) in patch.as_object().into_iter().flatten() {
                    match (value, document.as_object_mut()) {
                        (Value::Null, Some(fields)) => drop(fields.remove(field)),
                        (value, Some(fields)) => drop(fields.insert(field.clone(), value.clone())),
                        (_, None) => {}
                    }
                }
            }
            Edit::Include(key, member) => {
                let members = state.entry((Room::Tags, key.clone())).or_insert_with(|| json!([]));
                if let Some(list) = members.as_array_mut()
                    && let Err(at) = list.binary_search_by(|known| known.as_str().cmp(&Some(member)))
                {
                    list.insert(at, json!(member));
                }
            }
            Edit::Exclude(key, member) => {
                let place = (Room::Tags, key.clone());
                if let Some(list) = state.get_mut(&place).and_then(Value::as_array_mut) {
                    list.retain(|known| known != member);
                    if list.is_empty() {
                        state.remove(&place);
                    }
                }
            }
            Edit::Add(key, delta) => {
                let sum = state.entry((Room::Counts, key.clone())).or_insert_with(|| json!(0));
                *sum = json!(sum.as_i64().unwrap_or(0) + delta);
            }
        }
    }

    /// Adds it to a batch.
    pub fn tell(&self, batch: &mut Batch) {
        let bytes = |room: &Room, value: &Value| match (room, value) {
            (Room::Notes, value) => value.to_string(),
            (_, value) => value.as_str().unwrap_or_default().to_owned(),
        };
        match self {
            Edit::Put(room, key, value) => batch.put(&room.sub(), key.clone(), bytes(room, value)),
            Edit::Del(room, key) => batch.del(&room.sub(), key.clone()),
            Edit::Clear(room, from, to) => {
                let bounds = (Bound::Included(from.as_bytes()), Bound::Excluded(to.as_bytes()));
                batch.clear(&room.sub(), bounds)
            }
            Edit::Patch(key, patch) => batch.patch(&Room::Notes.sub(), key.clone(), patch.to_string()),
            Edit::Include(key, member) => batch.include(&Room::Tags.sub(), key.clone(), member.clone()),
            Edit::Exclude(key, member) => batch.exclude(&Room::Tags.sub(), key.clone(), member.clone()),
            Edit::Add(key, delta) => batch.add(&Room::Counts.sub(), key.clone(), *delta),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Trial as _;

    #[test]
    fn batches_differ_fill_every_room_and_stay_small() {
        let trial = Batches::of(3);
        let mut seen = std::collections::BTreeSet::new();
        let mut state = Shown::new();
        for number in 1..=500 {
            let next = trial.after(number, state.clone());
            assert_ne!(next, state);
            state = next;
            seen.extend(state.keys().map(|(room, _)| *room));
        }
        assert_eq!(seen.len(), Room::ALL.len());
        assert!(state.len() < 200);
        assert!((1..100).any(|number| trial.lasts(number)) && !(1..100).all(|number| trial.lasts(number)));
    }
}
