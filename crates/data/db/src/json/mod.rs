//! Documents as rows: one for each field, element and container, so that edits of different fields never meet.
//!
//! A row's path is a run of steps: `02 name 00 01` into an object's field, `03 position 00 01` to an array's element. Its value is
//! `00` and a scalar as JSON, `01` for an object or `02` for an array. A container's own row is written again with every change
//! below it: whoever replaces or deletes it meanwhile has a conflict with that, or loses only what was seen.

mod diff;
mod place;
mod tree;

pub(crate) use diff::{Edit, Edits, diff};
pub(crate) use tree::{Node, fields, is_leaf, is_path, leaf_text};

pub(crate) const SCALAR: u8 = 0;
pub(crate) const OBJECT: u8 = 1;
pub(crate) const ARRAY: u8 = 2;
pub(crate) const FIELD: u8 = 2;
pub(crate) const ELEMENT: u8 = 3;
