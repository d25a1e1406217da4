//! From a document as it is to one as it should be, in as few changes of rows as is sensible.

use super::place::between;
use super::{ARRAY, ELEMENT, FIELD, Node, OBJECT, SCALAR};
use crate::row::escape;
use serde_json::Value;

/// Comparing arrays takes the product of the lengths that differ; beyond this the middle is written anew.
const MOST: usize = 1 << 20;

/// The changes found, in the order in which they apply.
pub(crate) struct Edits {
    pub edits: Vec<Edit>,
    /// Makes the places of new elements different from all others: ends with a count.
    own: Vec<u8>,
    made: u32,
    /// The place that was made last, and how much of it `between` found.
    last: (Vec<u8>, usize),
}

/// One change of a row, by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    Set(Vec<u8>, Vec<u8>),
    Kill(Vec<u8>),
}

impl Edits {
    /// `own` is different for every entry of every writer.
    pub fn new(own: Vec<u8>) -> Self {
        Edits { edits: Vec::new(), own, made: 0, last: (Vec::new(), 0) }
    }

    fn set(&mut self, path: &[u8], value: Vec<u8>) {
        self.edits.push(Edit::Set(path.to_vec(), value));
    }

    fn kill(&mut self, path: &[u8]) {
        self.edits.push(Edit::Kill(path.to_vec()));
    }

    fn place(&mut self, low: &[u8], high: Option<&[u8]>) -> Vec<u8> {
        self.made += 1;
        let mut own = self.own.clone();
        own.extend_from_slice(&self.made.to_be_bytes());
        own.push(1);
        let (last, found) = &self.last;
        // Right behind the one made before, the count alone makes it later: a long array has short places.
        let next = [&last[..*found], &own[..]].concat();
        let place = if low == last && high.is_none_or(|high| next[..] < *high) {
            next
        } else {
            between(low, high, &own)
        };
        self.last = (place.clone(), place.len() - own.len());
        place
    }
}

/// Adds what makes `new` out of `old`, which lies at `path`. Whether there is anything.
pub(crate) fn diff(old: &Node, new: &Value, path: &mut Vec<u8>, edits: &mut Edits) -> bool {
    match new {
        Value::Object(fields) => {
            let begun = begin(old, OBJECT, path, edits);
            let mut changed = begun;
            let empty = Node::default();
            let known = if begun { &empty } else { old };
            for (name, value) in fields {
                let child = known.fields.get(name).unwrap_or(&empty);
                changed |= at(path, FIELD, name.as_bytes(), |path| diff(child, value, path, edits));
            }
            for (name, child) in &known.fields {
                if !fields.contains_key(name) && child.show().is_some() {
                    at(path, FIELD, name.as_bytes(), |path| edits.kill(path));
                    changed = true;
                }
            }
            assert_container(OBJECT, begun, changed, path, edits)
        }
        Value::Array(values) => {
            let begun = begin(old, ARRAY, path, edits);
            let empty = Node::default();
            let known = if begun { &empty } else { old };
            let changed = elements(known, values, path, edits) || begun;
            assert_container(ARRAY, begun, changed, path, edits)
        }
        scalar => {
            let mut leaf = vec![SCALAR];
            leaf.extend_from_slice(scalar.to_string().as_bytes());
            if old.leaf.as_deref() == Some(&leaf[..]) {
                return false;
            }
            if !old.fields.is_empty() || !old.elements.is_empty() {
                edits.kill(path);
            }
            edits.set(path, leaf);
            true
        }
    }
}

/// Makes room for a container where there is none like it; whether that was so.
fn begin(old: &Node, tag: u8, path: &[u8], edits: &mut Edits) -> bool {
    if old.is(tag) {
        return false;
    }
    if !old.is_empty() {
        edits.kill(path);
    }
    edits.set(path, vec![tag]);
    true
}

/// Writes a container's row again when something below it changed.
fn assert_container(tag: u8, begun: bool, changed: bool, path: &[u8], edits: &mut Edits) -> bool {
    if changed && !begun {
        edits.set(path, vec![tag]);
    }
    changed
}

fn at<T>(path: &mut Vec<u8>, kind: u8, step: &[u8], run: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let length = path.len();
    path.push(kind);
    escape(path, step);
    let answer = run(path);
    path.truncate(length);
    answer
}

fn elements(old: &Node, new: &[Value], path: &mut Vec<u8>, edits: &mut Edits) -> bool {
    let have: Vec<(&Vec<u8>, &Node, Value)> =
        old.elements.iter().filter_map(|(place, node)| Some((place, node, node.show()?))).collect();
    let shown: Vec<&Value> = have.iter().map(|(_, _, value)| value).collect();
    let mut changed = false;
    let mut low: Vec<u8> = Vec::new();
    for step in align(&shown, new) {
        match step {
            Step::Same(old_at) => low.clone_from(have[old_at].0),
            Step::Change(old_at, new_at) => {
                let (place, node, _) = &have[old_at];
                changed |= at(path, ELEMENT, place, |path| diff(node, &new[new_at], path, edits));
                low.clone_from(place);
            }
            Step::Remove(old_at) => {
                at(path, ELEMENT, have[old_at].0, |path| edits.kill(path));
                changed = true;
            }
            Step::Insert(new_at) => {
                // The next of all that lie there, hidden ones too: places must not be given twice.
                let behind = (std::ops::Bound::Excluded(&low[..]), std::ops::Bound::Unbounded);
                let high = old.elements.range::<[u8], _>(behind).next().map(|(place, _)| place.clone());
                let place = edits.place(&low, high.as_deref());
                at(path, ELEMENT, &place, |path| diff(&Node::default(), &new[new_at], path, edits));
                low = place;
                changed = true;
            }
        }
    }
    changed
}

enum Step {
    Same(usize),
    Change(usize, usize),
    Remove(usize),
    Insert(usize),
}

/// How to walk from the old elements to the new ones.
fn align(old: &[&Value], new: &[Value]) -> Vec<Step> {
    let head = old.iter().zip(new).take_while(|(old, new)| **old == *new).count();
    let tail =
        old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(old, new)| **old == *new).count();
    let (old_end, new_end) = (old.len() - tail, new.len() - tail);
    let mut steps: Vec<Step> = (0..head).map(Step::Same).collect();
    let (mut left, mut right) = (head, head);
    for (keep_old, keep_new) in common(&old[head..old_end], &new[head..new_end]) {
        gap(&mut steps, old, new, left..head + keep_old, right..head + keep_new);
        steps.push(Step::Same(head + keep_old));
        (left, right) = (head + keep_old + 1, head + keep_new + 1);
    }
    gap(&mut steps, old, new, left..old_end, right..new_end);
    steps.extend((old_end..old.len()).map(Step::Same));
    steps
}

/// Between two elements that stay: containers of one kind in the same order are taken for changed ones.
fn gap(
    steps: &mut Vec<Step>,
    old: &[&Value],
    new: &[Value],
    left: std::ops::Range<usize>,
    right: std::ops::Range<usize>,
) {
    let mut rest = right;
    for old_at in left {
        let alike = rest.clone().next().filter(|at| {
            (old[old_at].is_object() && new[*at].is_object())
                || (old[old_at].is_array() && new[*at].is_array())
        });
        match alike {
            Some(new_at) => {
                rest.start += 1;
                steps.push(Step::Change(old_at, new_at));
            }
            None => steps.push(Step::Remove(old_at)),
        }
    }
    steps.extend(rest.map(Step::Insert));
}

/// The longest run of equal elements, as pairs of places.
fn common(old: &[&Value], new: &[Value]) -> Vec<(usize, usize)> {
    if old.len().saturating_mul(new.len()) > MOST {
        return Vec::new();
    }
    let width = new.len() + 1;
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    for left in (0..old.len()).rev() {
        for right in (0..new.len()).rev() {
            lengths[left * width + right] = if *old[left] == new[right] {
                lengths[(left + 1) * width + right + 1] + 1
            } else {
                lengths[(left + 1) * width + right].max(lengths[left * width + right + 1])
            };
        }
    }
    let (mut left, mut right, mut pairs) = (0, 0, Vec::new());
    while left < old.len() && right < new.len() {
        if *old[left] == new[right] {
            pairs.push((left, right));
            (left, right) = (left + 1, right + 1);
        } else if lengths[(left + 1) * width + right] >= lengths[left * width + right + 1] {
            left += 1;
        } else {
            right += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn apply(node: &mut Vec<(Vec<u8>, Vec<u8>)>, edits: Edits) {
        for edit in edits.edits {
            match edit {
                Edit::Kill(path) => node.retain(|(row, _)| !row.starts_with(&path)),
                Edit::Set(path, value) => {
                    node.retain(|(row, _)| *row != path);
                    node.push((path, value));
                }
            }
        }
    }

    #[test]
    fn a_document_becomes_the_other() {
        let states = [
            json!({"a": 1, "b": [1, 2, 3], "c": {"d": null}}),
            json!({"a": {"x": []}, "b": [0, 1, 3, {"k": 1}], "c": {"d": null, "e": "é\u{0}"}}),
            json!([{"k": 1, "l": 2}, {"k": 2}, 5, 5, 5]),
            json!([5, {"k": 1}, 5, {"k": 3}, [1]]),
            json!("text"),
            json!({}),
            json!([]),
            json!(null),
        ];
        for (turn, (from, to)) in states.iter().flat_map(|a| states.iter().map(move |b| (a, b))).enumerate() {
            let mut rows = Vec::new();
            for (step, value) in [from, to].into_iter().enumerate() {
                let mut node = Node::default();
                rows.iter()
                    .for_each(|(path, leaf): &(Vec<u8>, Vec<u8>)| node.insert(path, leaf.clone().into()));
                let mut edits = Edits::new(vec![turn as u8, step as u8]);
                diff(&node, value, &mut Vec::new(), &mut edits);
                apply(&mut rows, edits);
                let mut node = Node::default();
                rows.iter().for_each(|(path, leaf)| node.insert(path, leaf.clone().into()));
                assert_eq!(node.show().as_ref(), Some(value), "{from} to {to}");
                assert!(
                    rows.iter()
                        .all(|(path, leaf)| super::super::is_path(path) && super::super::is_leaf(leaf))
                );
            }
        }
    }

    #[test]
    fn a_long_array_has_short_places() {
        let mut edits = Edits::new(vec![7; 14]);
        let array: Vec<u32> = (0..5_000).collect();
        diff(&Node::default(), &json!(array), &mut Vec::new(), &mut edits);
        let paths: Vec<Vec<u8>> = edits
            .edits
            .into_iter()
            .filter_map(|edit| match edit {
                Edit::Set(path, _) => Some(path),
                Edit::Kill(_) => None,
            })
            .skip(1)
            .collect();
        assert!(paths.is_sorted() && paths.iter().all(|path| path.len() < 60), "{:?}", paths.last());
    }

    #[test]
    fn what_stays_is_not_written() {
        let mut node = Node::default();
        let mut edits = Edits::new(vec![1]);
        diff(&node, &json!({"a": [1, {"b": 2, "c": 3}], "z": 1}), &mut Vec::new(), &mut edits);
        for edit in edits.edits {
            let Edit::Set(path, value) = edit else { panic!("nothing to kill") };
            node.insert(&path, value.into());
        }
        let mut edits = Edits::new(vec![2]);
        assert!(!diff(&node, &json!({"a": [1, {"b": 2, "c": 3}], "z": 1}), &mut Vec::new(), &mut edits));
        assert_eq!(edits.edits, []);
        diff(&node, &json!({"a": [1, {"b": 9, "c": 3}], "z": 1}), &mut Vec::new(), &mut edits);
        // The field, and the three containers above it.
        assert_eq!(edits.edits.len(), 4);
    }
}
