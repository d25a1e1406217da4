use super::{keyed_hash, random_bytes};
use cloudpal_core::Secret;
use cloudpal_log::KeyPair;

/// What the signing keys of named logs are derived from: the `primaryKey` of npm `corestore`.
///
/// A store derives it from its own key. An existing corestore moves in by handing over its primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimaryKey(Secret<32>);

impl PrimaryKey {
    /// Takes the bytes over.
    pub const fn new(bytes: [u8; 32]) -> Self {
        PrimaryKey(Secret::new(bytes))
    }

    /// A new key from the operating system's generator.
    pub fn random() -> Result<Self, getrandom::Error> {
        random_bytes().map(PrimaryKey::new)
    }

    pub(crate) fn from_secret(secret: Secret<32>) -> Self {
        PrimaryKey(secret)
    }

    /// The key pair of the log `name` in `namespace`, as `store.createKeyPair(name)` of npm `corestore` 7 makes it:
    /// seed = BLAKE2b-256 keyed by the primary key over ns("corestore", 0), the namespace and the name.
    ///
    /// ```
    /// use cloudpal_store::{Namespace, PrimaryKey};
    /// let key_pair = PrimaryKey::new([7; 32]).key_pair(&Namespace::ROOT, "first");
    /// assert_eq!(key_pair.public_key()[..4], [0x43, 0xa0, 0xaf, 0xd8]);
    /// ```
    pub fn key_pair(&self, namespace: &Namespace, name: &str) -> KeyPair {
        let seed = keyed_hash(self.0.expose(), &[&corestore_namespace(), &namespace.0, name.as_bytes()]);
        KeyPair::from_seed(seed.expose())
    }
}

/// A room for names, as npm `corestore` has them. Names in one never meet names in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace([u8; 32]);

impl Namespace {
    /// Where a store begins: 32 zeros.
    pub const ROOT: Namespace = Namespace([0; 32]);

    /// The room `name` within this one: BLAKE2b-256 of this one's bytes and the name.
    pub fn child(&self, name: &[u8]) -> Self {
        Namespace(hash(&[&self.0, name]))
    }

    /// From its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Namespace(bytes)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// ns("corestore", 0) of npm `hypercore-crypto`: BLAKE2b-256 of BLAKE2b-256 of the name and one byte.
fn corestore_namespace() -> [u8; 32] {
    hash(&[&hash(&[b"corestore"]), &[0]])
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = blake2b_simd::Params::new().hash_length(32).to_state();
    for part in parts {
        state.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(state.finalize().as_bytes());
    out
}
