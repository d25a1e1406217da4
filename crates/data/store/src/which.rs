use crate::{Access, Namespace};
use cloudpal_log::{Durability, EncryptionKey, KeyPair, Manifest};
use std::time::Duration;

/// Which log to open.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for a moment whenever a log is opened")]
pub enum Which {
    /// One whose signing key the store derives from a name.
    Named {
        /// The room of the name.
        namespace: Namespace,
        /// The name.
        name: String,
        /// As npm hypercore 10 makes logs by default: the signer's key is the log's key.
        compat: bool,
    },
    /// The one with this key. If it is not here, a copy of someone else's log begins, empty.
    Key([u8; 32]),
    /// One with a manifest of its own, made if it is not here.
    Manifest {
        /// Who signs.
        manifest: Manifest,
        /// A key pair that may sign alone; it is not kept.
        key_pair: Option<KeyPair>,
    },
}

impl Which {
    /// The default log called `name` in `namespace`.
    pub fn named(namespace: Namespace, name: impl Into<String>) -> Self {
        Which::Named { namespace, name: name.into(), compat: false }
    }
}

/// How to open a log. What is none is as the store's [`Options`](crate::Options) say.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Encrypts its blocks, or lets them be read.
    pub encryption: Option<EncryptionKey>,
    /// How soon appends last.
    pub durability: Option<Durability>,
    /// How long a missing block is waited for.
    pub get_timeout: Option<Duration>,
    /// Bytes of block bodies that the log may hold here; counts from when the log is first opened in this run.
    pub quota: Option<u64>,
    /// Who may have the log from here, and send it; remembered by the store. None leaves it as it was, at first
    /// [`Access::Anyone`].
    pub access: Option<Access>,
}
