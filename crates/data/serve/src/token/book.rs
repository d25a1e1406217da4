use super::{Record, Scope, Token};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Tokens at most, so that looking one up stays quick.
const MAX_TOKENS: usize = 1000;

/// What went wrong with the file of tokens.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The disk.
    #[error("cannot {what} the tokens in {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Not written by this program.
    #[error("{} is no list of tokens", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A kind that does not exist.
    #[error("{0:?} is no kind of sub-database: register, json, set, counter or text")]
    Kind(String),
    /// There are too many.
    #[error("there are {MAX_TOKENS} tokens already; revoke some first")]
    Full,
    /// No token of this id.
    #[error("no token begins with {0}; list them first")]
    Unknown(String),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    tokens: Vec<Record>,
}

/// The tokens of one database, in a file that holds no secret: only hashes.
#[derive(Debug, Clone)]
pub struct Book {
    path: PathBuf,
}

impl Book {
    /// The book at `path`, which need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Book { path: path.into() }
    }

    /// The book of the database called `name`, beside the store in the folder `store`: it can be changed while the store is in use.
    /// Names hold any character, so the file is called by their hash.
    pub fn beside(store: &Path, name: &str) -> Self {
        let hash = hex::encode(Sha256::digest(name.as_bytes()));
        Book::at(store.join("tokens").join(format!("{hash}.json")))
    }

    /// When it was last changed; none if there is none.
    pub fn changed(&self) -> Option<SystemTime> {
        fs::metadata(&self.path).and_then(|about| about.modified()).ok()
    }

    /// All tokens, without their secrets.
    pub fn list(&self) -> Result<Vec<Record>, BookError> {
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice::<Kept>(&bytes)
                .map(|kept| kept.tokens)
                .map_err(|source| BookError::Format { path: self.path.clone(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(self.failed("read", source)),
        }
    }

    /// Makes a token, which is told this once. `random` is where its bytes come from.
    pub fn add(
        &self,
        label: &str,
        scopes: Vec<Scope>,
        expires: Option<u64>,
        random: [u8; 40],
    ) -> Result<Token, BookError> {
        if let Some(scope) = scopes.iter().find(|scope| !scope.is_sound()) {
            return Err(BookError::Kind(scope.kind.clone().unwrap_or_default()));
        }
        let mut tokens = self.list()?;
        if tokens.len() >= MAX_TOKENS {
            return Err(BookError::Full);
        }
        let token = Token::from_random(random);
        tokens.push(token.record(label, scopes, expires));
        self.keep(tokens)?;
        Ok(token)
    }

    /// Makes the token whose id begins so worthless, also on connections that are open.
    pub fn revoke(&self, id: &str) -> Result<Record, BookError> {
        let mut tokens = self.list()?;
        let found: Vec<_> = (0..tokens.len()).filter(|index| tokens[*index].id.starts_with(id)).collect();
        let [index] = found[..] else { return Err(BookError::Unknown(id.to_owned())) };
        let gone = tokens.remove(index);
        self.keep(tokens)?;
        Ok(gone)
    }

    fn keep(&self, tokens: Vec<Record>) -> Result<(), BookError> {
        let failed = |source| self.failed("write", source);
        let text = serde_json::to_vec_pretty(&Kept { tokens }).map_err(io::Error::from).map_err(failed)?;
        replace(&self.path, &text).map_err(failed)
    }

    fn failed(&self, what: &'static str, source: io::Error) -> BookError {
        BookError::Io { what, path: self.path.clone(), source }
    }
}

/// The file is the old one or the new one, never half of either.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let part = path.with_extension("part");
    let mut file = File::create(&part)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::{Access, Right};
    use super::*;

    #[test]
    fn kept_without_secrets_and_gone_when_revoked() {
        let folder = tempfile::tempdir().expect("a folder");
        let book = Book::at(folder.path().join("tokens/home.json"));
        assert_eq!(book.list().expect("no file is no tokens"), []);
        let all = Scope { path: String::new(), kind: None, right: Right::Write };
        let token = book.add("laptop", vec![all.clone()], None, [9; 40]).expect("made");
        let other = book.add("phone", vec![all], None, [10; 40]).expect("made");
        let text = fs::read_to_string(folder.path().join("tokens/home.json")).expect("a file");
        assert!(!text.contains(&token.reveal()) && !text.contains(&hex::encode([9; 32])));
        let records = book.list().expect("it reads");
        let id = Access::check(&records, &token.reveal(), 0).expect("known").id().to_owned();
        assert!(matches!(book.revoke("ff"), Err(BookError::Unknown(_))));
        book.revoke(&id).expect("it was there");
        assert!(Access::check(&book.list().expect("it reads"), &token.reveal(), 0).is_err());
        assert!(Access::check(&book.list().expect("it reads"), &other.reveal(), 0).is_ok());
    }

    #[test]
    fn a_kind_that_does_not_exist_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let book = Book::at(folder.path().join("home.json"));
        let odd = Scope { path: String::new(), kind: Some("list".into()), right: Right::Read };
        assert!(matches!(book.add("x", vec![odd], None, [1; 40]), Err(BookError::Kind(_))));
    }
}
