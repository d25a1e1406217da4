//! One request to a pal's data interface.

use crate::failure::{Exit, Failure};
use serde::Deserialize;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::time::Duration;
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::{Agent, AsSendBody, Body, SendBody};

/// A pal that sleeps has to wake, and one that was killed has to boot.
const FIRST_ANSWER: Duration = Duration::from_secs(90);

/// No JSON answer is longer, in bytes.
const MAX_JSON: u64 = 16 << 20;

/// A client of one pal's interface.
pub struct Http {
    agent: Agent,
    base: String,
}

/// What is asked: a path as the interface has it, percent-encoded by [`path`], and `name=value` pairs.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// From the first slash.
    pub path: &'a str,
    /// Not encoded yet.
    pub query: &'a [(&'a str, String)],
}

impl<'a> Ask<'a> {
    /// Without pairs.
    pub fn of(path: &'a str) -> Self {
        Ask { path, query: &[] }
    }
}

/// Why a pal did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It answered that it does not.
    #[error("{message}")]
    Refused {
        /// The answer's status.
        status: u16,
        /// For programs.
        code: String,
        /// For people.
        message: String,
    },
    /// It did not answer.
    #[error("the pal does not answer; see how it is with `cloudpal status`")]
    Silent(#[source] Box<ureq::Error>),
    /// It answered something else.
    #[error("the pal's answer cannot be read; update the older program")]
    Answer(#[source] io::Error),
    /// What was to be sent, or the place for what came.
    #[error("the bytes could not be {0}")]
    Local(&'static str, #[source] io::Error),
}

impl RemoteError {
    /// The exit code it leads to.
    pub fn exit(&self) -> Exit {
        match self {
            RemoteError::Refused { status, code, .. } => match (*status, code.as_str()) {
                (400 | 413 | 416, _) => Exit::Usage,
                (404, _) => Exit::NotFound,
                (401 | 403 | 421 | 423, _) | (409, "condition") => Exit::Refused,
                (409, "exists") => Exit::WouldLose,
                (502 | 504, _) => Exit::Unreachable,
                _ => Exit::Failed,
            },
            RemoteError::Silent(_) => Exit::Unreachable,
            RemoteError::Answer(_) | RemoteError::Local(..) => Exit::Failed,
        }
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        Failure::lift(error.exit(), error)
    }
}

#[derive(Deserialize)]
struct Said {
    error: Problem,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    message: String,
}

impl Http {
    /// The interface at `base`, such as `http://127.0.0.1:8080`.
    pub fn at(base: String) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_recv_response(Some(FIRST_ANSWER))
            // Never through a proxy of the environment: the tunnel ends on this machine.
            .proxy(None);
        Http { agent: config.build().into(), base }
    }

    /// Asks for JSON.
    pub fn get(&self, ask: Ask<'_>) -> Result<Value, RemoteError> {
        json(self.send(Method::GET, ask, &[], SendBody::none())?)
    }

    /// Sends a small body and reads JSON.
    pub fn send_json(&self, method: Method, ask: Ask<'_>, body: &[u8]) -> Result<Value, RemoteError> {
        let mut body = body;
        json(self.send(method, ask, &[], body.as_body())?)
    }

    /// Sends all that `source` gives, in chunks, and reads JSON.
    pub fn upload(&self, ask: Ask<'_>, source: &mut dyn Read) -> Result<Value, RemoteError> {
        // A refusal then comes before the bytes are sent.
        let first_ask = [("expect", "100-continue")];
        json(self.send(Method::PUT, ask, &first_ask, SendBody::from_reader(&mut Plain(source)))?)
    }

    /// Writes what comes to `sink`, as much of it as `range` (a `Range` header) wants; how many bytes that was.
    pub fn download(
        &self,
        ask: Ask<'_>,
        range: Option<&str>,
        sink: &mut dyn Write,
    ) -> Result<u64, RemoteError> {
        let headers: Vec<_> = range.map(|range| ("range", range)).into_iter().collect();
        let mut answer = accepted(self.send(Method::GET, ask, &headers, SendBody::none())?)?;
        let mut from = answer.body_mut().as_reader();
        let (mut buffer, mut copied) = (vec![0; 64 << 10], 0);
        loop {
            match from.read(&mut buffer) {
                Ok(0) => {
                    return sink
                        .flush()
                        .map(|()| copied)
                        .map_err(|error| RemoteError::Local("written", error));
                }
                Ok(size) => {
                    sink.write_all(&buffer[..size]).map_err(|error| RemoteError::Local("written", error))?;
                    copied += size as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(RemoteError::Answer(error)),
            }
        }
    }

    fn send(
        &self,
        method: Method,
        ask: Ask<'_>,
        headers: &[(&str, &str)],
        body: SendBody<'_>,
    ) -> Result<Response<Body>, RemoteError> {
        let mut uri = format!("{}{}", self.base, ask.path);
        for (i, (name, value)) in ask.query.iter().enumerate() {
            uri.push(if i == 0 { '?' } else { '&' });
            uri += &format!("{name}={}", encode(value, ""));
        }
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let unsent = |error: ureq::Error| RemoteError::Silent(Box::new(error));
        let request = request.body(body).map_err(|error| unsent(error.into()))?;
        self.agent.run(request).map_err(unsent)
    }
}

/// A reader of its own type, for a function that wants one.
struct Plain<'a>(&'a mut dyn Read);

impl Read for Plain<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

fn json(answer: Response<Body>) -> Result<Value, RemoteError> {
    let mut answer = accepted(answer)?;
    let unread = |error: ureq::Error| RemoteError::Answer(io::Error::other(error));
    let bytes = answer.body_mut().with_config().limit(MAX_JSON).read_to_vec().map_err(unread)?;
    serde_json::from_slice(&bytes).map_err(|error| RemoteError::Answer(error.into()))
}

fn accepted(mut answer: Response<Body>) -> Result<Response<Body>, RemoteError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    // What is said besides JSON comes from the tunnel, or from a pal older than this interface.
    let text = answer.body_mut().with_config().limit(64 << 10).read_to_string().unwrap_or_default();
    let said: Option<Said> = serde_json::from_str(&text).ok();
    let (code, message) = match said {
        Some(Said { error }) => (error.code, error.message),
        None if status == StatusCode::NOT_FOUND => (
            "old".into(),
            "this pal is older than its data interface; have it booted with a newer image".into(),
        ),
        None => (
            "failed".into(),
            text.lines().next().unwrap_or("the pal said nothing").chars().take(200).collect(),
        ),
    };
    Err(RemoteError::Refused { status: status.as_u16(), code, message })
}

/// A path out of parts, each encoded; slashes in a part stay where `keep` says so.
pub fn path(parts: &[&str], rest: Option<&str>) -> String {
    let mut path: String = parts.iter().map(|part| format!("/{}", encode(part, ""))).collect();
    if let Some(rest) = rest {
        path.push('/');
        path += &encode(rest, "/");
    }
    path
}

/// Percent-encoding (RFC 3986): all but unreserved characters and those in `keep`.
fn encode(text: &str, keep: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let stays =
            byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.as_bytes().contains(&byte);
        match stays {
            true => encoded.push(byte.into()),
            false => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_way() {
        assert_eq!(path(&["v1", "logs", "a b/ö?"], None), "/v1/logs/a%20b%2F%C3%B6%3F");
        assert_eq!(path(&["v1"], Some("2026/a&b#c")), "/v1/2026/a%26b%23c");
    }

    #[test]
    fn each_refusal_has_its_exit_code() {
        let exit = |status, code: &str| {
            RemoteError::Refused { status, code: code.into(), message: String::new() }.exit()
        };
        assert_eq!(exit(404, "not_found"), Exit::NotFound);
        assert_eq!(exit(423, "locked"), Exit::Refused);
        assert_eq!(exit(409, "condition"), Exit::Refused);
        assert_eq!(exit(409, "exists"), Exit::WouldLose);
        assert_eq!(exit(413, "too_large"), Exit::Usage);
        assert_eq!(exit(504, "unavailable"), Exit::Unreachable);
        assert_eq!(exit(502, "unreachable"), Exit::Unreachable);
        assert_eq!(exit(507, "full"), Exit::Failed);
    }
}
