use super::bits::Bits;
use crate::flat;

/// How many parents up from `node` the first one is that `known` holds, or else the root above it in a log of
/// `length` blocks, which whoever has the log's head has. Not holding one that is there costs bytes, never the proof.
pub(crate) fn missing(node: u64, length: u64, known: impl Fn(u64) -> bool) -> u64 {
    let mut at = node;
    let mut parents = 0;
    while !known(at) {
        let parent = flat::parent(at);
        if flat::blocks(parent).end > length {
            break;
        }
        at = parent;
        parents += 1;
    }
    parents
}

/// Notes what an answer brings: every node on the way from `node` over `parents` parents, with their siblings.
pub(crate) fn note(node: u64, parents: u64, known: &mut Bits) {
    let mut at = node;
    known.insert(at);
    for _ in 0..parents {
        known.insert(flat::sibling(at));
        at = flat::parent(at);
        known.insert(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_blocks_needs_each_node_once() {
        let length = 1000;
        let mut known = Bits::default();
        let mut nodes = 0;
        for block in 0..length {
            let parents = missing(2 * block, length, |node| known.get(node));
            note(2 * block, parents, &mut known);
            nodes += parents;
        }
        // One sibling for each pair at each depth below the roots: all leaves but one of each root's.
        assert_eq!(nodes, length - u64::from(length.count_ones()));
    }

    #[test]
    fn the_way_up_ends_at_a_root() {
        assert_eq!(missing(0, 1, |_| false), 0);
        assert_eq!(missing(0, 8, |_| false), 3);
        assert_eq!(missing(2 * 8, 9, |_| false), 0);
        assert_eq!(missing(0, 8, |node| node == 3), 2);
    }
}
