//! Blocks of a bee as bytes: the header in block 0, a node in every other.

use crate::proto::{Fields, Value, put_bytes, put_varint, slice_of, take_varint, varint_len};
use bytes::Bytes;

/// Longest index of a node that is read: a tree of 2^53 keys stays below 16 KiB.
pub const MAX_INDEX_BYTES: usize = 64 * 1024;

/// Block 0, which says that the log is a bee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// `hyperbee`, unless someone else's map lies there.
    pub protocol: String,
    /// What the creator kept beside.
    pub metadata: Option<Metadata>,
}

/// What a header may carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Key of a log that belongs to this one. Hyperdrives in compat logs name their blob log here.
    pub content_feed: Option<Bytes>,
    /// Free for the creator.
    pub user_data: Option<Bytes>,
}

impl Header {
    /// The header of a new bee.
    pub fn new(metadata: Option<Metadata>) -> Self {
        Header { protocol: "hyperbee".into(), metadata }
    }

    /// Whether a bee follows.
    pub fn is_bee(&self) -> bool {
        self.protocol == "hyperbee"
    }

    /// The bytes of block 0.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        put_bytes(&mut out, 1, self.protocol.as_bytes());
        if let Some(metadata) = &self.metadata {
            let mut inner = Vec::new();
            metadata.content_feed.iter().for_each(|key| put_bytes(&mut inner, 1, key));
            metadata.user_data.iter().for_each(|data| put_bytes(&mut inner, 2, data));
            put_bytes(&mut out, 2, &inner);
        }
        out.into()
    }

    /// Reads block 0; none if it is no header.
    pub fn parse(block: &[u8]) -> Option<Header> {
        let (mut protocol, mut metadata) = (None, None);
        for field in Fields::new(block) {
            match field? {
                (1, Value::Bytes(name)) => protocol = Some(str::from_utf8(name).ok()?.to_owned()),
                (2, Value::Bytes(inner)) => metadata = Some(Metadata::parse(inner)?),
                (1 | 2, _) => return None,
                _ => {}
            }
        }
        Some(Header { protocol: protocol?, metadata })
    }
}

impl Metadata {
    fn parse(bytes: &[u8]) -> Option<Metadata> {
        let mut metadata = Metadata::default();
        for field in Fields::new(bytes) {
            match field? {
                (1, Value::Bytes(key)) => metadata.content_feed = Some(Bytes::copy_from_slice(key)),
                (2, Value::Bytes(data)) => metadata.user_data = Some(Bytes::copy_from_slice(data)),
                (1 | 2, _) => return None,
                _ => {}
            }
        }
        Some(metadata)
    }
}

/// Any block but the first: one operation, and the nodes of the tree that it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The key that was put or deleted.
    pub key: Bytes,
    /// Its value. None for a deletion and for a key put without a value.
    pub value: Option<Bytes>,
    /// The changed nodes.
    pub index: Index,
}

impl Node {
    /// Reads a block; none if it is no node. Key and value share the block's memory.
    pub fn parse(block: &Bytes) -> Option<Node> {
        let (mut index, mut key, mut value) = (None, None, None);
        for field in Fields::new(block) {
            match field? {
                (1, Value::Bytes(bytes)) => index = Some(bytes),
                (2, Value::Bytes(bytes)) => key = Some(slice_of(block, bytes)),
                (3, Value::Bytes(bytes)) => value = Some(slice_of(block, bytes)),
                (1..=3, _) => return None,
                _ => {}
            }
        }
        Some(Node { key: key?, value, index: Index::parse(index?)? })
    }

    /// The key that a block put or deleted, without looking at the rest.
    pub(crate) fn key_of(block: &[u8]) -> Option<&[u8]> {
        let mut key = None;
        for field in Fields::new(block) {
            if let (2, Value::Bytes(bytes)) = field? {
                key = Some(bytes);
            }
        }
        key
    }

    /// Whether block `seq`, which this is, deleted its key.
    pub fn is_deletion(&self, seq: u64) -> bool {
        self.value.is_none() && !self.index.names_key(seq)
    }
}

/// The tree nodes that a block holds, each a list of keys and a list of children. Keys are named by the block that
/// put them, children by block and position within its index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    numbers: Box<[u64]>,
    levels: Box<[Span]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u32,
    keys: u32,
    end: u32,
}

/// One tree node of an [`Index`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level<'a> {
    /// Blocks that put the keys, in the keys' order.
    pub keys: &'a [u64],
    /// Pairs of block and position: one more than keys, or none in a leaf.
    pub children: &'a [u64],
}

impl Index {
    /// Reads an index; none if it is broken or longer than [`MAX_INDEX_BYTES`].
    pub fn parse(bytes: &[u8]) -> Option<Index> {
        if bytes.len() > MAX_INDEX_BYTES {
            return None;
        }
        let (mut numbers, mut levels) = (Vec::with_capacity(bytes.len()), Vec::new());
        for field in Fields::new(bytes) {
            match field? {
                (1, Value::Bytes(level)) => levels.push(parse_level(level, &mut numbers)?),
                (1, _) => return None,
                _ => {}
            }
        }
        Some(Index { numbers: numbers.into(), levels: levels.into() })
    }

    /// Number of tree nodes.
    pub fn len(&self) -> usize {
        self.levels.len()
    }

    /// Whether the block holds no tree node.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// The tree node at `offset`.
    pub fn level(&self, offset: u64) -> Option<Level<'_>> {
        let span = self.levels.get(usize::try_from(offset).ok()?)?;
        let (start, keys, end) = (span.start as usize, span.keys as usize, span.end as usize);
        Some(Level { keys: &self.numbers[start..keys], children: &self.numbers[keys..end] })
    }

    /// Memory held besides the struct itself, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.numbers) + size_of_val(&*self.levels)
    }

    fn names_key(&self, seq: u64) -> bool {
        self.levels.iter().any(|span| self.numbers[span.start as usize..span.keys as usize].contains(&seq))
    }
}

fn parse_level(level: &[u8], numbers: &mut Vec<u64>) -> Option<Span> {
    let start = numbers.len() as u32;
    let mut children = Vec::new();
    for field in Fields::new(level) {
        match field? {
            (1, Value::Bytes(packed)) => unpack(packed, numbers)?,
            (2, Value::Bytes(packed)) => unpack(packed, &mut children)?,
            (1 | 2, _) => return None,
            _ => {}
        }
    }
    if children.len() % 2 != 0 {
        return None;
    }
    let keys = numbers.len() as u32;
    numbers.extend_from_slice(&children);
    Some(Span { start, keys, end: numbers.len() as u32 })
}

fn unpack(mut packed: &[u8], into: &mut Vec<u64>) -> Option<()> {
    while !packed.is_empty() {
        into.push(take_varint(&mut packed)?);
    }
    Some(())
}

/// Writes node blocks one after another into one buffer.
#[derive(Default)]
pub(crate) struct NodeWriter {
    out: Vec<u8>,
    index: Vec<u8>,
    ends: Vec<usize>,
}

impl NodeWriter {
    /// Adds a tree node to the block being written.
    pub fn level(
        &mut self,
        keys: impl Iterator<Item = u64> + Clone,
        children: impl Iterator<Item = u64> + Clone,
    ) {
        let packed = |numbers: &mut dyn Iterator<Item = u64>| numbers.map(varint_len).sum::<usize>();
        let key_bytes = packed(&mut keys.clone());
        let child_bytes = packed(&mut children.clone());
        let field = |length: usize| if length == 0 { 0 } else { 1 + varint_len(length as u64) + length };
        self.index.push(1 << 3 | 2);
        put_varint(&mut self.index, (field(key_bytes) + field(child_bytes)) as u64);
        if key_bytes > 0 {
            self.index.push(1 << 3 | 2);
            put_varint(&mut self.index, key_bytes as u64);
            keys.for_each(|seq| put_varint(&mut self.index, seq));
        }
        if child_bytes > 0 {
            self.index.push(2 << 3 | 2);
            put_varint(&mut self.index, child_bytes as u64);
            children.for_each(|number| put_varint(&mut self.index, number));
        }
    }

    /// Ends the block.
    pub fn finish(&mut self, key: &[u8], value: Option<&[u8]>) {
        put_bytes(&mut self.out, 1, &self.index);
        put_bytes(&mut self.out, 2, key);
        if let Some(value) = value {
            put_bytes(&mut self.out, 3, value);
        }
        self.index.clear();
        self.ends.push(self.out.len());
    }

    /// The blocks, sharing one buffer.
    pub fn into_blocks(self) -> Vec<Bytes> {
        let whole = Bytes::from(self.out);
        let mut start = 0;
        let block = |end: usize| {
            let block = whole.slice(start..end);
            start = end;
            block
        };
        self.ends.into_iter().map(block).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_reads_as_it_was_written() {
        let mut writer = NodeWriter::default();
        writer.level([3, 300].into_iter(), [1, 0, 2, 1, 70_000, 2].into_iter());
        writer.level([].into_iter(), [].into_iter());
        writer.finish(b"key", Some(b"value"));
        writer.level([9].into_iter(), [].into_iter());
        writer.finish(b"", None);
        let blocks = writer.into_blocks();
        let first = Node::parse(&blocks[0]).unwrap();
        assert_eq!((&first.key[..], first.value.as_deref()), (&b"key"[..], Some(&b"value"[..])));
        assert_eq!(first.index.len(), 2);
        let level = Level { keys: &[3, 300], children: &[1, 0, 2, 1, 70_000, 2] };
        assert_eq!(first.index.level(0), Some(level));
        assert_eq!(first.index.level(1), Some(Level { keys: &[], children: &[] }));
        assert_eq!(first.index.level(2), None);
        let second = Node::parse(&blocks[1]).unwrap();
        assert!(second.is_deletion(8) && !second.is_deletion(9));
    }

    #[test]
    fn a_block_cut_anywhere_is_refused_or_read_never_worse() {
        let mut writer = NodeWriter::default();
        writer.level([3, 300].into_iter(), [1, 0, 2, 1, 70_000, 2].into_iter());
        writer.finish(b"key", Some(b"value"));
        let block = writer.into_blocks().remove(0);
        for cut in 0..block.len() {
            let node = Node::parse(&block.slice(..cut));
            assert!(node.is_none_or(|node| node.key == "key" && node.value.is_none()), "cut at {cut}");
        }
    }

    #[test]
    fn headers_carry_metadata_as_drives_write_it() {
        assert_eq!(&Header::new(None).encode()[..], b"\x0a\x08hyperbee");
        let empty = Header::new(Some(Metadata::default()));
        assert_eq!(&empty.encode()[..], b"\x0a\x08hyperbee\x12\x00");
        let full = Metadata { content_feed: Some(Bytes::from_static(b"k")), user_data: Some(Bytes::new()) };
        let full = Header::new(Some(full));
        for header in [empty, full] {
            assert_eq!(Header::parse(&header.encode()).unwrap(), header);
        }
        assert_eq!(Header::parse(b"\x12\x00"), None);
    }
}
