use super::{Branch, Entry, Node, Table};
use crate::Order;
use std::ops::Bound;
use std::sync::Arc;

/// A place in a table, which it holds as it was.
#[derive(Debug)]
pub(crate) struct TableCursor {
    /// The branches above, each with the child that is being visited.
    path: Vec<(Arc<Node>, usize)>,
    leaf: Arc<Node>,
    at: usize,
    order: Order,
}

impl TableCursor {
    /// At the first entry within `from`, which is the lower bound when ascending and the upper one when descending.
    pub fn new(table: &Table, from: Bound<&[u8]>, order: Order) -> Self {
        let mut cursor = TableCursor { path: Vec::new(), leaf: table.root.clone(), at: 0, order };
        cursor.descend(|branch| match (from, order) {
            (Bound::Included(key) | Bound::Excluded(key), _) => branch.child_of(key),
            (Bound::Unbounded, Order::Ascending) => 0,
            (Bound::Unbounded, Order::Descending) => branch.children.len() - 1,
        });
        let Node::Leaf(leaf) = &*cursor.leaf else { return cursor };
        let length = leaf.entries.len();
        // How many entries come before the bound; when descending, how many are within it.
        let before = match from {
            Bound::Unbounded => match order {
                Order::Ascending => 0,
                Order::Descending => length,
            },
            Bound::Included(key) | Bound::Excluded(key) => match (leaf.find(key), order, from) {
                (Ok(at), Order::Ascending, Bound::Excluded(_)) => at + 1,
                (Ok(at), Order::Descending, Bound::Included(_)) => at + 1,
                (Ok(at) | Err(at), ..) => at,
            },
        };
        match order {
            Order::Ascending if before < length => cursor.at = before,
            Order::Ascending => cursor.next_leaf(),
            Order::Descending if before > 0 => cursor.at = before - 1,
            Order::Descending => cursor.next_leaf(),
        }
        cursor
    }

    /// None past the last.
    pub fn entry(&self) -> Option<&Entry> {
        match &*self.leaf {
            Node::Leaf(leaf) => leaf.entries.get(self.at),
            Node::Branch(_) => None,
        }
    }

    pub fn advance(&mut self) {
        let Node::Leaf(leaf) = &*self.leaf else { return };
        match self.order {
            Order::Ascending if self.at + 1 < leaf.entries.len() => self.at += 1,
            Order::Descending if self.at > 0 && self.at < leaf.entries.len() => self.at -= 1,
            _ => self.next_leaf(),
        }
    }

    /// To the next leaf's first entry, or past the end. Only the root may be an empty leaf.
    fn next_leaf(&mut self) {
        let order = self.order;
        while let Some((node, child)) = self.path.pop() {
            let Node::Branch(branch) = &*node else { continue };
            let next = match order {
                Order::Ascending => (child + 1 < branch.children.len()).then_some(child + 1),
                Order::Descending => child.checked_sub(1),
            };
            if let Some(next) = next {
                self.leaf = branch.children[next].clone();
                self.path.push((node, next));
                self.descend(|branch| match order {
                    Order::Ascending => 0,
                    Order::Descending => branch.children.len() - 1,
                });
                let Node::Leaf(leaf) = &*self.leaf else { return };
                self.at = match order {
                    Order::Ascending => 0,
                    Order::Descending => leaf.entries.len().saturating_sub(1),
                };
                return;
            }
        }
        self.at = usize::MAX;
    }

    /// From the node in `leaf` down to a leaf.
    fn descend(&mut self, child: impl Fn(&Branch) -> usize) {
        while let Node::Branch(branch) = &*self.leaf {
            let at = child(branch);
            let below = branch.children[at].clone();
            self.path.push((std::mem::replace(&mut self.leaf, below), at));
        }
    }
}
