//! Which nodes make a tree longer.

use crate::tree::Misplaced;
use crate::{Node, Tree, flat};

/// The nodes that make a log of `from` blocks into one of `to`, in order: each the largest that fits.
pub(crate) fn path(from: u64, to: u64) -> impl Iterator<Item = u64> {
    let mut at = from;
    std::iter::from_fn(move || {
        let left = to.checked_sub(at).filter(|left| *left > 0)?;
        let depth = at.trailing_zeros().min(left.ilog2());
        let index = flat::index(depth, at >> depth);
        at += 1 << depth;
        Some(index)
    })
}

/// Makes `tree` longer by `blocks`, with nodes from `find`.
pub(crate) fn grow(
    tree: &mut Tree,
    blocks: u64,
    mut find: impl FnMut(u64) -> Option<Node>,
) -> Result<(), Misplaced> {
    let from = tree.length();
    let misplaced = |index| Misplaced { index, length: from };
    let to = from.checked_add(blocks).filter(|to| *to < flat::LIMIT / 2).ok_or(misplaced(flat::LIMIT))?;
    for index in path(from, to) {
        tree.push(find(index).ok_or(misplaced(index))?, |_| {})?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_fits_and_the_last_ends_there() {
        for from in 0..70 {
            for to in from..70 {
                let mut at = from;
                for index in path(from, to) {
                    assert_eq!(flat::blocks(index).start, at);
                    at = flat::blocks(index).end;
                }
                assert_eq!(at, to);
                assert!(path(from, to).count() <= 13);
            }
        }
        assert_eq!(path(0, 7).collect::<Vec<_>>(), flat::roots(7).collect::<Vec<_>>());
        assert_eq!(path(5, 7).collect::<Vec<_>>(), [10, 12]);
    }
}
