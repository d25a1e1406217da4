use std::collections::BTreeSet;

/// Who may connect, by the static key that its handshake proves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Access {
    /// Whoever connects. A log still goes only to those who know its key.
    #[default]
    Anyone,
    /// These and nobody else.
    Only(BTreeSet<[u8; 32]>),
}

impl Access {
    /// Only the holders of these keys.
    pub fn only(keys: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Access::Only(keys.into_iter().collect())
    }

    /// Whether the holder of `key` may.
    pub fn allows(&self, key: &[u8; 32]) -> bool {
        match self {
            Access::Anyone => true,
            Access::Only(keys) => keys.contains(key),
        }
    }
}
