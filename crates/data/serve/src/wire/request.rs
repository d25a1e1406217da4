use super::Numbered;
use bytes::Bytes;
use cloudpal_base::limits::{MAX_KEY, MAX_PATH, MAX_VALUE};
use cloudpal_base::{Batch, Choice, ClientId, Dot, Durability, Kind, Resolution, Span, Sub, Unit};
use cloudpal_log::codec::{CodecError, Reader};

/// Keys in one request, and changes in one batch, at most.
const MAX_ITEMS: usize = 100_000;
/// Bytes of a token, at most.
const MAX_TOKEN: usize = 256;
/// Bytes of a place in an index, at most: a term and a key, each byte of which may take two.
const MAX_PLACE: usize = 2 * (MAX_KEY + MAX_PATH);
/// Bytes of a cursor, at most: it has some for every writer of the database.
const MAX_CURSOR: usize = 64 << 10;

/// What a client asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// The first message of a connection, and only that.
    Hello(Hello),
    /// Says that a sub-database is going to be used, and fails if it should, or should not, exist.
    Open {
        /// Which.
        sub: Sub,
        /// Make a note of it where it does not exist, instead of failing.
        create: bool,
        /// Fail where it does.
        fresh: bool,
    },
    /// The values of keys, each of which may be absent.
    Get {
        /// Zero: as it is now.
        snapshot: u64,
        /// Where.
        sub: Sub,
        /// Which.
        keys: Vec<Bytes>,
    },
    /// Whether keys are there.
    Has {
        /// Zero: as it is now.
        snapshot: u64,
        /// Where.
        sub: Sub,
        /// Which.
        keys: Vec<Bytes>,
    },
    /// Changes, all or none.
    Write(Write),
    /// Entries in order, as many as fit into a page.
    Scan {
        /// Zero: as it is now.
        snapshot: u64,
        /// Where.
        sub: Sub,
        /// Between which keys.
        bounds: Bounds,
        /// From the last to the first.
        reverse: bool,
        /// Send the keys.
        keys: bool,
        /// Send the values.
        values: bool,
        /// Entries at most.
        limit: u64,
        /// Bytes of keys and values after which the page ends.
        bytes: u64,
    },
    /// Keeps the view as it is now under a number of the client's choice.
    Snapshot(u64),
    /// Lets a snapshot go.
    Release(u64),
    /// Tells changes from now on, until `End`. The request's number names the subscription.
    Changes {
        /// From where.
        start: Start,
        /// Of one sub-database only.
        sub: Option<Sub>,
        /// How many events may be sent before `More`.
        credit: u64,
    },
    /// That many more events may be sent.
    More {
        /// The number of the request `Changes`.
        subscription: u64,
        /// How many.
        credit: u64,
    },
    /// Ends a subscription.
    End(u64),
    /// The conflicts of a sub-database.
    Conflicts(Sub),
    /// Who writes this database.
    Members,
    /// Keys by an indexed field, in the field's order, as many as fit into a page.
    Find(Find),
    /// Settles a conflict.
    Resolve {
        /// What is to take the place of what.
        resolution: Resolution,
        /// When it is answered.
        durability: Durability,
    },
    /// Answered at once, so that a client notices when nobody is there.
    Ping,
}

/// What to find by an index.
#[derive(Debug, Clone, PartialEq)]
pub struct Find {
    /// Zero: as it is now.
    pub snapshot: u64,
    /// Where.
    pub sub: Sub,
    /// The indexed field: names joined by dots.
    pub path: String,
    /// Between which values, as JSON.
    pub bounds: Bounds,
    /// Behind this place, which an earlier page ended with.
    pub after: Option<Bytes>,
    /// From the last to the first.
    pub reverse: bool,
    /// Send what the keys show.
    pub values: bool,
    /// Keys at most.
    pub limit: u64,
    /// Bytes of keys and values after which the page ends.
    pub bytes: u64,
}

/// Who comes.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// The lowest version of the protocol that the client speaks.
    pub lowest: u64,
    /// And the highest.
    pub highest: u64,
    /// The token.
    pub token: String,
}

/// Never shows the token.
impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hello {{ lowest: {}, highest: {}, token: .. }}", self.lowest, self.highest)
    }
}

/// Which of a client's batches it is, so that one that is sent again is done once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Random, of the client's making.
    pub client: [u8; 16],
    /// Rises with each of its batches.
    pub sequence: u64,
}

/// An atomic batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Missing: sent once, and done as often as it arrives.
    pub origin: Option<Origin>,
    /// When it is answered.
    pub durability: Durability,
    /// What it does, in order.
    pub steps: Vec<Step>,
}

/// One part of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Stores a value.
    Put(Sub, Bytes, Bytes),
    /// Deletes a key.
    Del(Sub, Bytes),
    /// Deletes a range.
    Clear(Sub, Bounds),
    /// Changes fields of a document, as a JSON merge patch.
    Patch(Sub, Bytes, Bytes),
    /// Adds a member to a set.
    Include(Sub, Bytes, Bytes),
    /// Takes a member out of a set.
    Exclude(Sub, Bytes, Bytes),
    /// Adds to a counter.
    Add(Sub, Bytes, i64),
    /// Takes a stretch of a text out and puts another in its place.
    Splice(Sub, Bytes, Span, String),
    /// Declares an index on a field of documents, for ever.
    Index(Sub, String),
    /// Nothing of the batch is done unless the key has this value, or none.
    Expect(Sub, Bytes, Option<Bytes>),
}

impl Step {
    /// The sub-database it is about.
    pub const fn sub(&self) -> &Sub {
        match self {
            Step::Put(sub, ..)
            | Step::Del(sub, _)
            | Step::Clear(sub, _)
            | Step::Patch(sub, ..)
            | Step::Include(sub, ..)
            | Step::Exclude(sub, ..)
            | Step::Add(sub, ..)
            | Step::Splice(sub, ..)
            | Step::Index(sub, _)
            | Step::Expect(sub, ..) => sub,
        }
    }

    /// Adds it to a batch.
    pub fn add_to(&self, batch: &mut Batch) {
        match self {
            Step::Put(sub, key, value) => batch.put(sub, key.clone(), value.clone()),
            Step::Del(sub, key) => batch.del(sub, key.clone()),
            Step::Clear(sub, bounds) => batch.clear(sub, (bounds.lower.slice(), bounds.upper.slice())),
            Step::Patch(sub, key, patch) => batch.patch(sub, key.clone(), patch.clone()),
            Step::Include(sub, key, member) => batch.include(sub, key.clone(), member.clone()),
            Step::Exclude(sub, key, member) => batch.exclude(sub, key.clone(), member.clone()),
            Step::Add(sub, key, delta) => batch.add(sub, key.clone(), *delta),
            Step::Splice(sub, key, span, insert) => batch.splice(sub, key.clone(), *span, insert.clone()),
            Step::Index(sub, path) => batch.index(sub, path.clone()),
            Step::Expect(sub, key, value) => batch.expect(sub, key.clone(), value.clone()),
        };
    }
}

/// One end of a range.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Bound {
    /// No end.
    #[default]
    Open,
    /// Without this key.
    Excluding(Bytes),
    /// With this key.
    Including(Bytes),
}

impl Bound {
    fn slice(&self) -> std::ops::Bound<&[u8]> {
        match self {
            Bound::Open => std::ops::Bound::Unbounded,
            Bound::Excluding(key) => std::ops::Bound::Excluded(key),
            Bound::Including(key) => std::ops::Bound::Included(key),
        }
    }
}

impl From<Bound> for std::ops::Bound<Bytes> {
    fn from(bound: Bound) -> Self {
        match bound {
            Bound::Open => std::ops::Bound::Unbounded,
            Bound::Excluding(key) => std::ops::Bound::Excluded(key),
            Bound::Including(key) => std::ops::Bound::Included(key),
        }
    }
}

/// A range of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Where it begins.
    pub lower: Bound,
    /// Where it ends.
    pub upper: Bound,
}

/// Where a subscription begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With what comes next.
    Now,
    /// With the oldest change that is kept.
    Oldest,
    /// After a cursor of an earlier event.
    After(Bytes),
}

const HELLO: u8 = 1;
const OPEN: u8 = 2;
const GET: u8 = 3;
const HAS: u8 = 4;
const WRITE: u8 = 5;
const SCAN: u8 = 6;
const SNAPSHOT: u8 = 7;
const RELEASE: u8 = 8;
const CHANGES: u8 = 9;
const MORE: u8 = 10;
const END: u8 = 11;
const CONFLICTS: u8 = 12;
const MEMBERS: u8 = 13;
const PING: u8 = 14;
const FIND: u8 = 15;
const RESOLVE: u8 = 16;

impl Numbered {
    pub(super) fn parse(frame: &Bytes) -> Result<Self, CodecError> {
        let mut fields = Fields { reader: Reader::new(frame), whole: frame };
        let code = fields.reader.byte()?;
        let id = fields.reader.uint()?;
        let request = fields.request(code)?;
        fields.reader.finish()?;
        Ok(Numbered { id, request })
    }
}

/// Reads a frame; what it takes is not copied.
struct Fields<'a> {
    reader: Reader<'a>,
    whole: &'a Bytes,
}

impl Fields<'_> {
    fn request(&mut self, code: u8) -> Result<Request, CodecError> {
        Ok(match code {
            HELLO => Request::Hello(self.hello()?),
            OPEN => {
                let sub = self.sub()?;
                let [create, fresh, ..] = self.flags(2, "how to open")?;
                Request::Open { sub, create, fresh }
            }
            GET => Request::Get { snapshot: self.reader.uint()?, sub: self.sub()?, keys: self.keys()? },
            HAS => Request::Has { snapshot: self.reader.uint()?, sub: self.sub()?, keys: self.keys()? },
            WRITE => Request::Write(self.write()?),
            SCAN => {
                let (snapshot, sub, bounds) = (self.reader.uint()?, self.sub()?, self.bounds()?);
                let [reverse, keys, values] = self.flags(3, "how to scan")?;
                let (limit, bytes) = (self.reader.uint()?, self.reader.uint()?);
                Request::Scan { snapshot, sub, bounds, reverse, keys, values, limit, bytes }
            }
            SNAPSHOT => Request::Snapshot(self.reader.uint()?),
            RELEASE => Request::Release(self.reader.uint()?),
            CHANGES => {
                let start = self.start()?;
                let sub = self.option("a filter")?.then(|| self.sub()).transpose()?;
                Request::Changes { start, sub, credit: self.reader.uint()? }
            }
            MORE => Request::More { subscription: self.reader.uint()?, credit: self.reader.uint()? },
            END => Request::End(self.reader.uint()?),
            CONFLICTS => Request::Conflicts(self.sub()?),
            MEMBERS => Request::Members,
            PING => Request::Ping,
            FIND => Request::Find(self.find()?),
            RESOLVE => self.resolve()?,
            _ => return Err(CodecError::Value("a request")),
        })
    }

    fn find(&mut self) -> Result<Find, CodecError> {
        let (snapshot, sub, path) = (self.reader.uint()?, self.sub()?, self.path()?);
        let bounds = self.bounds()?;
        let after = self.option("a place")?.then(|| self.limited(MAX_PLACE, "a place")).transpose()?;
        let [reverse, values, ..] = self.flags(2, "how to find")?;
        let (limit, bytes) = (self.reader.uint()?, self.reader.uint()?);
        Ok(Find { snapshot, sub, path, bounds, after, reverse, values, limit, bytes })
    }

    fn resolve(&mut self) -> Result<Request, CodecError> {
        let (sub, key) = (self.sub()?, self.key()?);
        let path = self.limited(MAX_PATH, "the path of a field")?;
        let count = self.count(7, "versions")?;
        let seen = (0..count).map(|_| self.dot()).collect::<Result<Vec<_>, _>>()?;
        let choice = match self.option("a choice")? {
            false => Choice::Keep(self.dot()?),
            true => Choice::Value(self.value()?),
        };
        let durability = self.durability()?;
        Ok(Request::Resolve { resolution: Resolution { sub, key, path, seen, choice }, durability })
    }

    fn dot(&mut self) -> Result<Dot, CodecError> {
        let bytes: [u8; ClientId::LEN] = self.reader.fixed("a writer")?;
        let number = bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let client = ClientId::new(number).ok_or(CodecError::Value("a writer"))?;
        Ok(Dot { client, position: self.reader.uint()? })
    }

    fn path(&mut self) -> Result<String, CodecError> {
        let path = self.reader.string("the path of a field")?;
        if path.len() > MAX_PATH {
            Err(CodecError::Value("the path of a field"))
        } else {
            Ok(path.to_owned())
        }
    }

    fn durability(&mut self) -> Result<Durability, CodecError> {
        match self.option("a durability")? {
            true => Ok(Durability::Durable),
            false => Ok(Durability::Relaxed),
        }
    }

    fn hello(&mut self) -> Result<Hello, CodecError> {
        let (lowest, highest) = (self.reader.uint()?, self.reader.uint()?);
        let token = self.reader.string("a token")?;
        if token.len() > MAX_TOKEN {
            return Err(CodecError::Value("a token"));
        }
        Ok(Hello { lowest, highest, token: token.to_owned() })
    }

    fn write(&mut self) -> Result<Write, CodecError> {
        let origin = match self.option("an origin")? {
            true => Some(Origin { client: self.reader.fixed("a client")?, sequence: self.reader.uint()? }),
            false => None,
        };
        let durability = self.durability()?;
        let count = self.count(2, "sub-databases")?;
        let subs = (0..count).map(|_| self.sub()).collect::<Result<Vec<_>, _>>()?;
        let count = self.count(3, "changes")?;
        let steps = (0..count).map(|_| self.step(&subs)).collect::<Result<Vec<_>, _>>()?;
        Ok(Write { origin, durability, steps })
    }

    fn step(&mut self, subs: &[Sub]) -> Result<Step, CodecError> {
        let code = self.reader.byte()?;
        let index = usize::try_from(self.reader.uint()?).map_err(|_| CodecError::Number)?;
        let sub = subs.get(index).cloned().ok_or(CodecError::Value("a sub-database"))?;
        Ok(match code {
            0 => Step::Put(sub, self.key()?, self.value()?),
            1 => Step::Del(sub, self.key()?),
            2 => Step::Clear(sub, self.bounds()?),
            3 => Step::Expect(sub, self.key()?, None),
            4 => Step::Expect(sub, self.key()?, Some(self.value()?)),
            5 => Step::Patch(sub, self.key()?, self.value()?),
            6 => Step::Include(sub, self.key()?, self.key()?),
            7 => Step::Exclude(sub, self.key()?, self.key()?),
            8 => Step::Add(sub, self.key()?, i64::from_le_bytes(self.reader.fixed("a number")?)),
            9 => Step::Splice(sub, self.key()?, self.span()?, self.text()?),
            10 => Step::Index(sub, self.path()?),
            _ => return Err(CodecError::Value("a change")),
        })
    }

    fn span(&mut self) -> Result<Span, CodecError> {
        let unit = if self.option("a unit")? { Unit::Utf16 } else { Unit::Utf8 };
        let mut number = || usize::try_from(self.reader.uint()?).map_err(|_| CodecError::Number);
        Ok(Span { at: number()?, length: number()?, unit })
    }

    fn text(&mut self) -> Result<String, CodecError> {
        let text = self.reader.string("a text")?;
        if text.len() > MAX_VALUE { Err(CodecError::Value("a text")) } else { Ok(text.to_owned()) }
    }

    fn start(&mut self) -> Result<Start, CodecError> {
        Ok(match self.reader.byte()? {
            0 => Start::Now,
            1 => Start::Oldest,
            2 => Start::After(self.limited(MAX_CURSOR, "a cursor")?),
            _ => return Err(CodecError::Value("where to start")),
        })
    }

    fn bounds(&mut self) -> Result<Bounds, CodecError> {
        Ok(Bounds { lower: self.bound()?, upper: self.bound()? })
    }

    fn bound(&mut self) -> Result<Bound, CodecError> {
        Ok(match self.reader.byte()? {
            0 => Bound::Open,
            1 => Bound::Excluding(self.key()?),
            2 => Bound::Including(self.key()?),
            _ => return Err(CodecError::Value("a bound")),
        })
    }

    fn keys(&mut self) -> Result<Vec<Bytes>, CodecError> {
        let count = self.count(1, "keys")?;
        (0..count).map(|_| self.key()).collect()
    }

    fn key(&mut self) -> Result<Bytes, CodecError> {
        self.limited(MAX_KEY, "a key")
    }

    fn value(&mut self) -> Result<Bytes, CodecError> {
        self.limited(MAX_VALUE, "a value")
    }

    fn limited(&mut self, limit: usize, what: &'static str) -> Result<Bytes, CodecError> {
        let bytes = self.reader.buffer(what)?;
        if bytes.len() > limit { Err(CodecError::Value(what)) } else { Ok(self.whole.slice_ref(bytes)) }
    }

    fn sub(&mut self) -> Result<Sub, CodecError> {
        let kind = self.reader.byte()?;
        let kind = Kind::ALL.into_iter().find(|known| *known as u8 == kind);
        let kind = kind.ok_or(CodecError::Value("the kind of a sub-database"))?;
        let name = self.reader.string("the name of a sub-database")?;
        Sub::new(name, kind).map_err(|_| CodecError::Value("the name of a sub-database"))
    }

    fn count(&mut self, least: usize, what: &'static str) -> Result<usize, CodecError> {
        let count = self.reader.count(least, what)?;
        if count > MAX_ITEMS { Err(CodecError::Value(what)) } else { Ok(count) }
    }

    /// The lowest `known` bits of a byte; the others must be zero.
    fn flags(&mut self, known: u8, what: &'static str) -> Result<[bool; 3], CodecError> {
        let byte = self.reader.byte()?;
        let bits = [0, 1, 2].map(|bit| byte >> bit & 1 == 1);
        if byte >> known == 0 { Ok(bits) } else { Err(CodecError::Value(what)) }
    }

    fn option(&mut self, what: &'static str) -> Result<bool, CodecError> {
        match self.reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::Value(what)),
        }
    }
}
