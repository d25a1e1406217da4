//! Tree nodes on disk. A record holds the nodes whose rightmost leaf is one of eight neighbours, so that an append
//! writes one record, a thousand blocks 125, and cutting the log to a length touches one and drops those after it.

use crate::codec::{CodecError, Reader, Write};
use crate::{Node, flat};
use std::collections::HashMap;

/// Leaves to a record, as a power of two.
const DEPTH: u32 = 3;
/// Nodes whose leaves are all in one record: 15.
const LOCAL: u32 = (2 << DEPTH) - 1;

/// The record that node `index` lies in.
pub const fn group_of(index: u64) -> u64 {
    flat::right_span(index) >> (DEPTH + 1)
}

/// The first record none of whose nodes belong to a log of `length` blocks.
pub const fn groups(length: u64) -> u64 {
    length.div_ceil(1 << DEPTH)
}

/// The nodes of one record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    nodes: Vec<Node>,
}

impl Group {
    pub fn get(&self, index: u64) -> Option<Node> {
        self.nodes.iter().rfind(|node| node.index == index).copied()
    }

    /// Puts a node in, in place of one with the same index.
    pub fn put(&mut self, node: Node) {
        match self.nodes.iter_mut().find(|other| other.index == node.index) {
            Some(other) => *other = node,
            None => self.nodes.push(node),
        }
    }

    /// Drops the nodes that reach past a log of `length` blocks.
    pub fn truncate(&mut self, length: u64) {
        self.nodes.retain(|node| flat::right_span(node.index) < 2 * length);
    }

    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A mask of places, then hashes, then sizes, in the order of the places.
    pub fn encode(&self, group: u64) -> Vec<u8> {
        let mut nodes: Vec<(u32, &Node)> =
            self.nodes.iter().map(|node| (place(group, node.index), node)).collect();
        nodes.sort_unstable_by_key(|(place, _)| *place);
        let mask = nodes.iter().fold(0_u64, |mask, (place, _)| mask | 1 << place);
        let mut to = Vec::with_capacity(12 + 36 * nodes.len());
        to.raw(&((mask & ((1 << LOCAL) - 1)) as u16).to_le_bytes());
        to.uint(mask >> LOCAL);
        for (_, node) in &nodes {
            to.raw(&node.hash);
        }
        for (_, node) in &nodes {
            to.uint(node.size);
        }
        to
    }

    pub fn decode(group: u64, bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let local = u64::from(reader.uint16()?);
        let mut mask = local | reader.uint()? << LOCAL;
        let mut nodes = Vec::with_capacity(mask.count_ones() as usize);
        while mask != 0 {
            let index = index(group, mask.trailing_zeros());
            mask &= mask - 1;
            nodes.push(Node { index, size: 0, hash: reader.fixed("a tree node")? });
        }
        for node in &mut nodes {
            node.size = reader.uint()?;
        }
        reader.finish()?;
        Ok(Group { nodes })
    }
}

/// The bit of a node in its record: the 15 at the bottom in their order, then those above by depth.
const fn place(group: u64, index: u64) -> u32 {
    let depth = flat::depth(index);
    if depth <= DEPTH { (index - (group << (DEPTH + 1))) as u32 } else { LOCAL + depth - DEPTH - 1 }
}

const fn index(group: u64, place: u32) -> u64 {
    let first = group << (DEPTH + 1);
    if place < LOCAL {
        return first + place as u64;
    }
    // The node that many above the leaves whose rightmost leaf is the record's last.
    let depth = place - LOCAL + DEPTH + 1;
    (first + LOCAL as u64).wrapping_sub(1 << depth)
}

/// Records read or written lately: at most twice [`Cache::HALF`], in two halves of which the older is dropped
/// whole.
#[derive(Debug, Default)]
pub struct Cache {
    young: HashMap<u64, Group>,
    old: HashMap<u64, Group>,
}

impl Cache {
    /// 64 records of 15 nodes are about 50 KB.
    const HALF: usize = 64;

    pub fn get(&mut self, group: u64) -> Option<&Group> {
        if let Some(found) = self.old.remove(&group) {
            self.put(group, found);
        }
        self.young.get(&group)
    }

    pub fn put(&mut self, group: u64, value: Group) {
        if self.young.len() >= Self::HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&group);
        self.young.insert(group, value);
    }

    pub fn forget_from(&mut self, group: u64) {
        self.young.retain(|key, _| *key < group);
        self.old.retain(|key, _| *key < group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_a_place_of_its_own() {
        for node in 0..5000 {
            let group = group_of(node);
            assert_eq!(index(group, place(group, node)), node);
        }
        let deep = flat::index(40, 0);
        assert_eq!(index(group_of(deep), place(group_of(deep), deep)), deep);
    }

    #[test]
    fn records_come_back() {
        let mut group = Group::default();
        for index in [16, 17, 18, 19, 30, 23, 15] {
            assert_eq!(group_of(index), 1);
            group.put(Node { index, size: index * 1000, hash: [index as u8; 32] });
        }
        let back = Group::decode(1, &group.encode(1)).unwrap();
        for index in 15..32 {
            assert_eq!(back.get(index), group.get(index));
        }
        assert!(Group::decode(1, &group.encode(1)[1..]).is_err());
        // A mask with more bits than a tree is deep is refused for want of bytes.
        assert!(Group::decode(0, &[0xff; 12]).is_err());
    }

    #[test]
    fn the_cache_stays_small_and_keeps_what_is_used() {
        let mut cache = Cache::default();
        for group in 0..1000 {
            cache.put(group, Group::default());
            assert!(cache.get(0).is_some());
        }
        assert!(cache.young.len() + cache.old.len() <= 2 * Cache::HALF);
        cache.forget_from(1);
        assert!(cache.get(0).is_some() && cache.get(999).is_none());
    }
}
