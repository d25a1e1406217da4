use std::fmt;
use std::str::FromStr;

/// The longest name of a sub-database, in bytes.
pub const MAX_NAME: usize = 255;

/// How concurrent edits of a sub-database come together. It is part of the sub-database's identity: `notes` of JSON
/// documents and `notes` of registers are two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Bytes; the later write wins and the other stays as a conflict.
    Register = 0,
    /// JSON, merged field by field.
    Json = 1,
    /// A set of byte strings; adding wins over removing.
    Set = 2,
    /// A whole number that is added to.
    Counter = 3,
    /// Text that several people edit.
    Text = 4,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 5] = [Kind::Register, Kind::Json, Kind::Set, Kind::Counter, Kind::Text];

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// As people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Register => "register",
            Kind::Json => "json",
            Kind::Set => "set",
            Kind::Counter => "counter",
            Kind::Text => "text",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of a kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of sub-database: register, json, set, counter or text")]
pub struct ParseKindError(String);

impl FromStr for Kind {
    type Err = ParseKindError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Kind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| ParseKindError(text.to_owned()))
    }
}

/// A sub-database: a name and a kind. Names may be paths like `app/photos/albums`; a right to a path covers what
/// lies below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sub {
    name: String,
    kind: Kind,
}

/// Why a name is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubError {
    /// Too long.
    #[error("the name of a sub-database has at most {MAX_NAME} bytes, this one has {0}")]
    Long(usize),
    /// It has a NUL.
    #[error("the name of a sub-database cannot hold the character NUL")]
    Nul,
}

impl Sub {
    /// The sub-database `name` of `kind`. The empty name is the database itself.
    pub fn new(name: impl Into<String>, kind: Kind) -> Result<Self, SubError> {
        let name = name.into();
        if name.len() > MAX_NAME {
            return Err(SubError::Long(name.len()));
        }
        if name.contains('\0') {
            return Err(SubError::Nul);
        }
        Ok(Sub { name, kind })
    }

    /// The registers of the database itself, without a name.
    pub const fn root() -> Self {
        Sub { name: String::new(), kind: Kind::Register }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether a right to `path` covers it: the path itself, or something below it.
    pub fn lies_under(&self, path: &str) -> bool {
        path.is_empty()
            || self.name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Sub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "the database itself ({})", self.kind),
            name => write!(f, "{name} ({})", self.kind),
        }
    }
}
