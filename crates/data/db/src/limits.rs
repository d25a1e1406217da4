//! What a database takes at most. Everything that comes from outside is held to it.

/// Bytes of a key.
pub const MAX_KEY: usize = 16 << 10;
/// Bytes of a value.
pub const MAX_VALUE: usize = 16 << 20;
/// Bytes of an atomic batch as it is written to the log.
pub const MAX_ENTRY: usize = 64 << 20;
/// Bytes of the path to a field of a document, encoded.
pub const MAX_PATH: usize = 16 << 10;
/// Levels of objects and arrays within a document.
pub const MAX_DEPTH: usize = 64;
/// Bytes of a block of a writer's log.
pub const MAX_BLOCK: usize = 1 << 20;
