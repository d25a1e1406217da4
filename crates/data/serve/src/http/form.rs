//! Bytes and places as JSON and addresses have them.

use crate::code::{Code, Failure};
use crate::wire::{Bound, Bounds};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use cloudpal_base::limits::MAX_KEY;
use cloudpal_base::{Kind, Sub};
use serde::Deserialize;

/// Which sub-database: `?sub=notes&kind=json`.
#[derive(Deserialize, Default)]
pub struct Place {
    /// Its name; empty: the database itself.
    #[serde(default)]
    pub sub: String,
    /// Its kind, by name; registers unless said otherwise.
    #[serde(default = "register")]
    pub kind: String,
}

/// The kind of a sub-database that names none.
pub fn register() -> String {
    Kind::Register.name().to_owned()
}

impl Place {
    /// The sub-database.
    pub fn sub(&self) -> Result<Sub, Failure> {
        let kind = self.kind.parse().map_err(|error| invalid(&error))?;
        Sub::new(self.sub.clone(), kind).map_err(|error| invalid(&error))
    }
}

/// How a key stands in an address.
#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As it is.
    #[default]
    Text,
    /// In the base64 that addresses take, for keys that are no text.
    Base64url,
}

impl Encoding {
    /// The key that stands in an address as `text`.
    pub fn key(self, text: &str) -> Result<Bytes, Failure> {
        let key = match self {
            Encoding::Text => Ok(text.as_bytes().to_vec()),
            Encoding::Base64url => URL_SAFE_NO_PAD.decode(text).map_err(|error| invalid(&error)),
        };
        within(key?.into(), MAX_KEY, "a key")
    }
}

/// `?gt=`, `?gte=`, `?lt=` and `?lte=`.
pub fn bounds(
    gt: Option<&str>,
    gte: Option<&str>,
    lt: Option<&str>,
    lte: Option<&str>,
    encoding: Encoding,
) -> Result<Bounds, Failure> {
    let bound = |without: Option<&str>, with: Option<&str>| match (without, with) {
        (None, None) => Ok(Bound::Open),
        (Some(key), None) => encoding.key(key).map(Bound::Excluding),
        (None, Some(key)) => encoding.key(key).map(Bound::Including),
        (Some(_), Some(_)) => Err(Failure::new(Code::Invalid, "a range has one bound at each end")),
    };
    Ok(Bounds { lower: bound(gt, gte)?, upper: bound(lt, lte)? })
}

/// Bytes that came as text or in base64; none if they came as neither.
pub fn bytes(
    text: Option<String>,
    base64: Option<String>,
    limit: usize,
    what: &str,
) -> Result<Option<Bytes>, Failure> {
    let bytes = match (text, base64) {
        (None, None) => return Ok(None),
        (Some(text), None) => text.into_bytes(),
        (None, Some(base64)) => STANDARD.decode(base64).map_err(|error| invalid(&error))?,
        (Some(_), Some(_)) => {
            return Err(Failure::new(Code::Invalid, format!("{what} is given twice, as text and in base64")));
        }
    };
    within(bytes.into(), limit, what).map(Some)
}

pub fn within(bytes: Bytes, limit: usize, what: &str) -> Result<Bytes, Failure> {
    if bytes.len() <= limit {
        return Ok(bytes);
    }
    Err(Failure::new(
        Code::TooLarge,
        format!("{what} has at most {limit} bytes, this one has {}", bytes.len()),
    ))
}

pub fn invalid(error: &dyn std::error::Error) -> Failure {
    Failure::new(Code::Invalid, error.to_string())
}
