use super::{ARRAY, ELEMENT, FIELD, OBJECT, SCALAR};
use crate::limits::MAX_DEPTH;
use crate::row;
use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;

/// A document's rows as a tree, the winner of each.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Node {
    pub leaf: Option<Bytes>,
    pub fields: BTreeMap<String, Node>,
    pub elements: BTreeMap<Vec<u8>, Node>,
}

impl Node {
    /// Adds the row at `path`. What is no path is left out.
    pub fn insert(&mut self, path: &[u8], leaf: Bytes) {
        let mut node = self;
        let mut rest = path;
        while let Some((step, more)) = step(rest) {
            node = match step {
                Step::Field(name) => node.fields.entry(name).or_default(),
                Step::Element(position) => node.elements.entry(position).or_default(),
            };
            rest = more;
        }
        if rest.is_empty() {
            node.leaf = Some(leaf);
        }
    }

    /// What it shows; none where nothing is. Rows below a scalar are hidden, as are elements of an object.
    pub fn show(&self) -> Option<Value> {
        let (tag, text) = self.leaf.as_deref()?.split_first()?;
        match *tag {
            SCALAR => serde_json::from_slice(text).ok(),
            OBJECT => {
                let field = |(name, node): (&String, &Node)| Some((name.clone(), node.show()?));
                Some(Value::Object(self.fields.iter().filter_map(field).collect()))
            }
            ARRAY => Some(Value::Array(self.elements.values().filter_map(Node::show).collect())),
            _ => None,
        }
    }

    /// Whether anything lies here or below.
    pub fn is_empty(&self) -> bool {
        self.leaf.is_none() && self.fields.is_empty() && self.elements.is_empty()
    }

    /// Whether the winner is a container of this tag.
    pub fn is(&self, tag: u8) -> bool {
        self.leaf.as_deref() == Some(&[tag])
    }
}

enum Step {
    Field(String),
    Element(Vec<u8>),
}

fn step(path: &[u8]) -> Option<(Step, &[u8])> {
    let (kind, rest) = path.split_first()?;
    let (bytes, rest) = row::unescape(rest)?;
    match *kind {
        FIELD => Some((Step::Field(String::from_utf8(bytes).ok()?), rest)),
        ELEMENT if bytes.last().is_some_and(|last| *last != 0) => Some((Step::Element(bytes), rest)),
        _ => None,
    }
}

/// Whether `path` is one, and not too deep.
pub(crate) fn is_path(path: &[u8]) -> bool {
    let mut rest = path;
    for _ in 0..MAX_DEPTH {
        match step(rest) {
            Some((_, more)) => rest = more,
            None => break,
        }
    }
    rest.is_empty()
}

/// The names of the fields along `path`; none if it goes through an array.
pub(crate) fn fields(path: &[u8]) -> Option<Vec<String>> {
    let (mut names, mut rest) = (Vec::new(), path);
    while !rest.is_empty() {
        let (Step::Field(name), more) = step(rest)? else { return None };
        names.push(name);
        rest = more;
    }
    Some(names)
}

/// The value of a row as JSON, containers without their content.
pub(crate) fn leaf_text(value: &Bytes) -> Bytes {
    match value.first() {
        Some(&OBJECT) => Bytes::from_static(b"{}"),
        Some(&ARRAY) => Bytes::from_static(b"[]"),
        Some(_) => value.slice(1..),
        None => value.clone(),
    }
}

/// Whether `value` is the value of a row.
pub(crate) fn is_leaf(value: &[u8]) -> bool {
    match value.split_first() {
        Some((&SCALAR, text)) => match serde_json::from_slice::<Value>(text) {
            Ok(scalar) => !scalar.is_object() && !scalar.is_array(),
            Err(_) => false,
        },
        Some((&OBJECT | &ARRAY, rest)) => rest.is_empty(),
        _ => false,
    }
}
