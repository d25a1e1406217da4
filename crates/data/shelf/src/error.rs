use crate::Kind;
use cloudpal_bee::{ReadError, WriteError};
use cloudpal_log::StorageError;
use cloudpal_store::OpenLogError;

/// Why something on a shelf was not found, made or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// Nothing of that name or key.
    #[error(
        "there is no {word} `{wanted}` here; `cloudpal {word} list` shows those there are, `cloudpal {word} create` \
         makes one, `cloudpal {word} fetch` brings one from a peer",
        word = kind.word()
    )]
    Unknown {
        /// What was looked for.
        kind: Kind,
        /// Its name or key.
        wanted: String,
    },
    /// What is no name.
    #[error("a name has 1 to {limit} bytes, no slash and no control characters, and is not a key")]
    Name {
        /// Most bytes.
        limit: usize,
    },
    /// Two wishes that do not go together.
    #[error("an encrypted compat log crashes npm hypercore 11; leave out one of the two")]
    CompatEncrypted,
    /// The name is taken by something else.
    #[error("there is another {word} called `{name}`; take another name", word = kind.word())]
    Taken {
        /// Of this kind.
        kind: Kind,
        /// The name.
        name: String,
    },
    /// The key is here already.
    #[error("this key is here already, as the {word} `{name}`", word = kind.word())]
    Known {
        /// What has it.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// As many things as are kept.
    #[error("at most {limit} logs, maps and drives are kept here")]
    Full {
        /// Most of them.
        limit: usize,
    },
    /// As many copies as are kept.
    #[error("at most {limit} copies of others' logs, maps and drives are kept here")]
    Copies {
        /// Most of them.
        limit: usize,
    },
    /// An entry of the catalogue.
    #[error("the list of names in the store is damaged at `{place}`")]
    Damaged {
        /// Which entry.
        place: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The catalogue could not be read.
    #[error("cannot read the list of names in the store")]
    Read(#[from] ReadError),
    /// The catalogue could not be written.
    #[error("cannot note a name in the store")]
    Write(#[from] WriteError),
    /// A log.
    #[error(transparent)]
    Log(#[from] OpenLogError),
    /// A drive's contents.
    #[error(transparent)]
    Drive(#[from] cloudpal_drive::OpenError),
    /// The store below.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
