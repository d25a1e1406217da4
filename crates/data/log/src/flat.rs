//! Flat in-order numbering of a binary tree's nodes, as npm `flat-tree` has it: leaf `i` is node `2 i`, and a
//! parent lies between its children.
//!
//! ```text
//!          3
//!      1       5
//!    0   2   4   6      leaves 0, 1, 2, 3 of the log
//! ```
//!
//! Indexes must stay below [`LIMIT`]; then nothing here overflows.

/// Node indexes and twice a log's length stay below this, far below what a JS number holds exactly.
pub const LIMIT: u64 = 1 << 50;

/// How far `index` is above the leaves.
pub const fn depth(index: u64) -> u32 {
    index.trailing_ones()
}

/// The node that is `offset` nodes from the left among those `depth` above the leaves.
pub const fn index(depth: u32, offset: u64) -> u64 {
    (offset << (depth + 1)) + (1 << depth) - 1
}

/// How many nodes of its depth are to the left of `index`.
pub const fn offset(index: u64) -> u64 {
    index >> (depth(index) + 1)
}

/// The node that has `index` as a child.
pub const fn parent(index: u64) -> u64 {
    let bit = 1 << depth(index);
    (index | bit) & !(bit << 1)
}

/// The other child of its parent.
pub const fn sibling(index: u64) -> u64 {
    index ^ (2 << depth(index))
}

/// The children of a parent; none for a leaf.
pub const fn children(index: u64) -> Option<(u64, u64)> {
    if index & 1 == 0 {
        return None;
    }
    let half = 1 << (depth(index) - 1);
    Some((index - half, index + half))
}

/// The node of the leftmost leaf below `index`.
pub const fn left_span(index: u64) -> u64 {
    index + 1 - (1 << depth(index))
}

/// The node of the rightmost leaf below `index`.
pub const fn right_span(index: u64) -> u64 {
    index + (1 << depth(index)) - 1
}

/// How many leaves are below `index`; 1 for a leaf itself.
pub const fn leaves(index: u64) -> u64 {
    1 << depth(index)
}

/// The blocks below `index`: first, and one past the last.
pub const fn blocks(index: u64) -> std::ops::Range<u64> {
    let first = left_span(index) / 2;
    first..first + leaves(index)
}

/// Whether the node `other` lies in the span of `index`.
pub const fn contains(index: u64, other: u64) -> bool {
    left_span(index) <= other && other <= right_span(index)
}

/// The roots of a log of `length` blocks, from the left: one for each bit of the length.
pub fn roots(length: u64) -> impl ExactSizeIterator<Item = u64> + DoubleEndedIterator + Clone {
    (0..length.count_ones()).map(move |nth| {
        let mut rest = length;
        let mut first = 0;
        for _ in 0..nth {
            let top = 1 << rest.ilog2();
            first += top;
            rest -= top;
        }
        2 * first + (1 << rest.ilog2()) - 1
    })
}

/// Whether `index` is one of the roots of a log of `length` blocks.
pub const fn is_root(index: u64, length: u64) -> bool {
    let depth = depth(index);
    (length >> depth) & 1 == 1 && blocks(index).start == (length >> (depth + 1)) << (depth + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_tree_is_as_drawn() {
        assert_eq!((parent(0), parent(2), parent(1), parent(5)), (1, 1, 3, 3));
        assert_eq!((sibling(0), sibling(2), sibling(1), sibling(5)), (2, 0, 5, 1));
        assert_eq!((children(3), children(5), children(4)), (Some((1, 5)), Some((4, 6)), None));
        assert_eq!((left_span(3), right_span(3), left_span(5), right_span(4)), (0, 6, 4, 4));
        assert_eq!((blocks(3), blocks(5), blocks(6)), (0..4, 2..4, 3..4));
        assert_eq!((offset(5), index(1, 1), index(2, 0), index(0, 3)), (1, 5, 3, 6));
        assert_eq!(roots(0).collect::<Vec<_>>(), []);
        assert_eq!(roots(7).collect::<Vec<_>>(), [3, 9, 12]);
        assert_eq!(roots(8).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn walks_agree_with_each_other() {
        for node in 0..4096 {
            assert_eq!(index(depth(node), offset(node)), node);
            assert_eq!(sibling(sibling(node)), node);
            assert_eq!(parent(sibling(node)), parent(node));
            if let Some((left, right)) = children(node) {
                assert_eq!((parent(left), parent(right), sibling(left)), (node, node, right));
                assert!(contains(node, left) && contains(node, right) && !contains(left, right));
            }
        }
    }

    #[test]
    fn roots_cover_the_log_once() {
        for length in 0..600 {
            let mut next = 0;
            for root in roots(length) {
                assert_eq!(blocks(root).start, next);
                next = blocks(root).end;
                assert!(is_root(root, length));
            }
            assert_eq!(next, length);
            let counted = (0..2 * length).filter(|index| is_root(*index, length)).count();
            assert_eq!(counted, roots(length).len(), "{length}");
        }
    }
}
