//! Scoped tokens: who may do what, until when. Whoever serves keeps a hash of each; the token itself is shown once.

mod book;

pub use book::{Book, BookError};

use crate::code::{Code, Failure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use cloudpal_base::{Kind, Sub};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

/// Sub-databases below this are the server's own; no token reaches them.
pub const RESERVED: &str = "cloudpal";

const PREFIX: &str = "cpdb_";
const ID: usize = 8;
const SECRET: usize = 32;

/// What a holder may do there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Read only.
    Read,
    /// Read and write.
    Write,
}

/// A part of the database and what may be done in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The sub-database of this name and all below it (`notes`, `notes/2026`); empty: all.
    pub path: String,
    /// Of one kind only, by its name; missing: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What.
    pub right: Right,
}

impl Scope {
    fn covers(&self, sub: &Sub) -> bool {
        sub.lies_under(&self.path) && self.kind.as_ref().is_none_or(|kind| kind == sub.kind().name())
    }

    /// Whether it names a kind that exists.
    fn is_sound(&self) -> bool {
        self.kind.as_ref().is_none_or(|kind| Kind::ALL.iter().any(|known| known.name() == kind))
    }
}

/// What is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its public part, in hex.
    pub id: String,
    /// BLAKE2b-256 of its secret part, in hex.
    pub hash: String,
    /// What people call it.
    pub label: String,
    /// What it opens.
    pub scopes: Vec<Scope>,
    /// Seconds since 1970 from which it is worth nothing; missing: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

/// A token as its holder has it. Never shown by `Debug`.
#[derive(Clone)]
pub struct Token {
    id: [u8; ID],
    secret: [u8; SECRET],
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({}, ..)", hex::encode(self.id))
    }
}

impl Token {
    /// A token of random bytes.
    pub fn from_random(random: [u8; ID + SECRET]) -> Self {
        let (id, secret) = random.split_at(ID);
        let mut token = Token { id: [0; ID], secret: [0; SECRET] };
        token.id.copy_from_slice(id);
        token.secret.copy_from_slice(secret);
        token
    }

    /// What to hand to its holder.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", BASE64.encode([&self.id[..], &self.secret[..]].concat()))
    }

    /// What to keep of it.
    pub fn record(&self, label: &str, scopes: Vec<Scope>, expires: Option<u64>) -> Record {
        let (id, hash) = (hex::encode(self.id), hex::encode(self.hash()));
        Record { id, hash, label: label.to_owned(), scopes, expires }
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text.strip_prefix(PREFIX)?).ok()?;
        Some(Token::from_random(bytes.try_into().ok()?))
    }

    fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        let whole =
            blake2b_simd::Params::new().hash_length(32).key(b"cloudpal database token").hash(&self.secret);
        hash.copy_from_slice(whole.as_bytes());
        hash
    }
}

/// What a caller may do. Made only from a token that was checked, or for the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access(Holder);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Holder {
    Owner,
    Token(Record),
}

static ALL: [Scope; 1] = [Scope { path: String::new(), kind: None, right: Right::Write }];

impl Access {
    /// Whoever serves vouches that this is the owner, who needs no token.
    pub const fn owner() -> Self {
        Access(Holder::Owner)
    }

    /// Checks a token against what is kept. The secret parts are compared in constant time.
    pub fn check(records: &[Record], token: &str, now: u64) -> Result<Self, Failure> {
        let refused =
            || Failure::new(Code::Unauthorized, "the token is not known here; ask the owner for another");
        let token = Token::parse(token).ok_or_else(refused)?;
        let id = hex::encode(token.id);
        let record = records.iter().find(|record| record.id == id).ok_or_else(refused)?;
        let kept = hex::decode(&record.hash).map_err(|_| refused())?;
        if !bool::from(token.hash().ct_eq(&kept[..])) {
            return Err(refused());
        }
        let access = Access(Holder::Token(record.clone()));
        access.is_current(now).then_some(access).ok_or_else(|| {
            Failure::new(Code::Unauthorized, "the token has expired; ask the owner for another")
        })
    }

    /// Whether the token has not expired at `now`, in seconds since 1970.
    pub fn is_current(&self, now: u64) -> bool {
        match &self.0 {
            Holder::Owner => true,
            Holder::Token(record) => record.expires.is_none_or(|expires| now < expires),
        }
    }

    /// Whether what is kept of the token is still the same.
    pub fn is_among(&self, records: &[Record]) -> bool {
        match &self.0 {
            Holder::Owner => true,
            Holder::Token(record) => records.contains(record),
        }
    }

    /// The token's public part; a word that no token has for the owner.
    pub fn id(&self) -> &str {
        match &self.0 {
            Holder::Owner => "owner",
            Holder::Token(record) => &record.id,
        }
    }

    /// What it opens.
    pub fn scopes(&self) -> &[Scope] {
        match &self.0 {
            Holder::Owner => &ALL,
            Holder::Token(record) => &record.scopes,
        }
    }

    /// Refuses what the token does not reach.
    pub fn demand(&self, right: Right, sub: &Sub) -> Result<(), Failure> {
        if !sub.lies_under(RESERVED) && self.reaches(right, sub) {
            return Ok(());
        }
        let what = match right {
            Right::Read => "read",
            Right::Write => "write",
        };
        Err(Failure::new(Code::Forbidden, format!("this token may not {what} {sub}")))
    }

    /// Whether the token may do that there.
    pub fn reaches(&self, right: Right, sub: &Sub) -> bool {
        !sub.lies_under(RESERVED)
            && self.scopes().iter().any(|scope| scope.right >= right && scope.covers(sub))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sub(name: &str) -> Sub {
        Sub::new(name, Kind::Json).expect("a name")
    }

    fn scope(path: &str, right: Right) -> Scope {
        Scope { path: path.into(), kind: None, right }
    }

    fn access(scopes: Vec<Scope>) -> Access {
        let token = Token::from_random([7; 40]);
        Access::check(&[token.record("test", scopes, None)], &token.reveal(), 0).expect("it is kept")
    }

    #[test]
    fn a_right_reaches_what_lies_below_and_no_further() {
        let access = access(vec![scope("notes", Right::Read), scope("notes/mine", Right::Write)]);
        assert!(access.reaches(Right::Read, &sub("notes")));
        assert!(access.reaches(Right::Read, &sub("notes/theirs")));
        assert!(!access.reaches(Right::Read, &sub("notes2")));
        assert!(!access.reaches(Right::Write, &sub("notes")));
        assert!(access.reaches(Right::Write, &sub("notes/mine/old")));
        let refused = access.demand(Right::Write, &sub("notes")).expect_err("read only");
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (Code::Forbidden, "this token may not write notes (json)")
        );
    }

    #[test]
    fn no_token_reaches_what_is_the_servers() {
        let access = access(vec![scope("", Right::Write)]);
        assert!(access.reaches(Right::Write, &sub("anything")));
        assert!(access.demand(Right::Read, &sub("cloudpal/applied")).is_err());
    }

    #[test]
    fn a_kind_can_be_named() {
        let only = Scope { kind: Some("register".into()), ..scope("notes", Right::Write) };
        assert!(!access(vec![only.clone()]).reaches(Right::Read, &sub("notes")));
        let register = Sub::new("notes", Kind::Register).expect("a name");
        assert!(access(vec![only]).reaches(Right::Write, &register));
    }

    #[test]
    fn only_the_whole_token_opens_and_only_in_time() {
        let token = Token::from_random([7; 40]);
        let records = [token.record("test", vec![scope("", Right::Read)], Some(100))];
        let check = |text: &str, now| Access::check(&records, text, now).map_err(|failure| failure.code);
        assert!(check(&token.reveal(), 99).is_ok());
        assert_eq!(check(&token.reveal(), 100), Err(Code::Unauthorized));
        let mut random = [7; 40];
        random[39] = 8;
        assert_eq!(check(&Token::from_random(random).reveal(), 0), Err(Code::Unauthorized));
        for text in ["", "cpdb_", "cpdb_AAAA", &token.reveal()[1..], "cpdb_ü"] {
            assert_eq!(check(text, 0), Err(Code::Unauthorized), "{text}");
        }
        assert!(!format!("{token:?}").contains("07070707070707070707"));
    }
}
