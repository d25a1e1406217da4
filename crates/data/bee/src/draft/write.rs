use super::{Child, ChildId, Draft, NodeId, Pending};
use crate::block::NodeWriter;
use crate::cache::KeyBytes;
use crate::reader::Reader;
use bytes::Bytes;

impl Draft {
    /// Ends an operation: every changed node that `root` reaches belongs to its block.
    pub(super) fn record(&mut self, root: NodeId, key: KeyBytes, value: Option<Bytes>) {
        let seq = self.next_seq();
        let mut index = Vec::new();
        self.collect(root, seq, None, &mut index);
        index[0] = self.add_child(Child { seq, offset: 0, node: Some(root) });
        self.pending.push(Pending { key, value, root, index });
    }

    /// Lists changed nodes, parents before their children.
    fn collect(&mut self, node: NodeId, seq: u64, child: Option<ChildId>, index: &mut Vec<ChildId>) {
        let offset = index.len() as u64;
        index.push(child.unwrap_or_default());
        if let Some(child) = child {
            self.children[child].seq = seq;
            self.children[child].offset = offset;
        }
        self.nodes[node].changed = false;
        self.nodes[node].seq = seq;
        for i in 0..self.nodes[node].children.len() {
            let child = self.nodes[node].children[i];
            if let Some(below) = self.children[child].node.filter(|&below| self.nodes[below].changed) {
                self.collect(below, seq, Some(child), index);
            }
        }
    }

    /// The blocks of all operations, and the reader of what lies below them.
    pub fn into_blocks(mut self) -> (Reader, Vec<Bytes>) {
        let mut writer = NodeWriter::default();
        let pending = std::mem::take(&mut self.pending);
        let (base, last) = (self.reader.version(), pending.len().saturating_sub(1));
        for (i, mut operation) in pending.into_iter().enumerate() {
            if i < last {
                self.drop_overwritten(base + i as u64, &mut operation.index);
            }
            for child in operation.index {
                let Some(node) = self.children[child].node.map(|node| &self.nodes[node]) else { continue };
                let children = node.children.iter().map(|&child| &self.children[child]);
                let keys = node.keys.iter().map(|key| key.seq);
                writer.level(keys, children.flat_map(|child| [child.seq, child.offset]));
            }
            writer.finish(&operation.key, operation.value.as_deref());
        }
        (self.reader, writer.into_blocks())
    }

    /// Within a batch only the last root counts. A node that a later operation wrote again is left out, and the last
    /// of the list moves to its place, as JS does it.
    fn drop_overwritten(&mut self, seq: u64, index: &mut Vec<ChildId>) {
        let root = index[0];
        let mut i = 0;
        while i < index.len() {
            let child = &mut self.children[index[i]];
            if index[i] != root && child.seq == seq {
                child.offset = i as u64;
                i += 1;
            } else {
                index.swap_remove(i);
            }
        }
    }
}
