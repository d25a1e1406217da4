//! The host's HTTP interface, as its client sees it. Requests about a pal are signed with the owner's key
//! for that pal and no other, so that a host cannot link two pals by their keys.

use crate::failure::Exit;
use crate::person::{self, PersonError};
use cloudpal_core::{PalId, SigningKey};
use cloudpal_protocol::TicketText;
use cloudpal_protocol::api::{
    AddCredit, ApiError, CreatePal, ErrorCode, HostInfo, PalInfo, Receipts, Relay, ReturnTickets,
    ReturnedTickets,
};
use cloudpal_protocol::{VERSION, request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MAX_ANSWER_BYTES: u64 = 8 << 20;

/// Why a host did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Not an address of a host.
    #[error("\"{0}\" is not a host's address; write one such as http://203.0.113.7:7070")]
    Address(String),
    /// Nothing answers there.
    #[error(
        "{doing} failed: {url} does not answer; check the address and that the host is running, then run the same command again"
    )]
    Unreachable {
        /// What was asked.
        doing: &'static str,
        /// Of whom.
        url: String,
        /// What happened.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The host says no.
    #[error("{doing} was not done: {}", refusal.message)]
    Refused {
        /// What was asked.
        doing: &'static str,
        /// What it said.
        refusal: ApiError,
    },
    /// An answer that is not in the agreed form.
    #[error("{doing} failed: {url} answered {status}, but not as a CloudPal host does; check the address")]
    Strange {
        /// What was asked.
        doing: &'static str,
        /// Of whom.
        url: String,
        /// HTTP status.
        status: u16,
        /// What could not be read.
        #[source]
        source: serde_json::Error,
    },
    /// Its program is of another time.
    #[error("the host speaks versions {theirs:?} and this program version {VERSION}; update the older one")]
    Version {
        /// What it speaks.
        theirs: Vec<u16>,
    },
    /// No randomness for a nonce.
    #[error(transparent)]
    Random(#[from] PersonError),
}

impl HostError {
    /// The exit code it leads to.
    pub fn exit(&self) -> Exit {
        match self {
            HostError::Address(_) => Exit::Usage,
            HostError::Unreachable { .. } | HostError::Strange { .. } => Exit::Unreachable,
            HostError::Refused { refusal, .. } => refusal.code.into(),
            HostError::Version { .. } | HostError::Random(_) => Exit::Failed,
        }
    }

    /// Whether asking again later may help: nobody answered.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, HostError::Unreachable { .. })
    }

    /// Whether the host says that rights, tickets or signatures are not good.
    pub fn is_refused(&self) -> bool {
        matches!(self, HostError::Refused { refusal, .. } if refusal.code == ErrorCode::Refused)
    }

    /// Whether the host knows no such pal.
    pub fn is_not_found(&self) -> bool {
        matches!(self, HostError::Refused { refusal, .. } if refusal.code == ErrorCode::NotFound)
    }
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A host at an address.
#[derive(Clone, Debug)]
pub struct Host {
    url: String,
    agent: ureq::Agent,
}

impl Host {
    /// Takes `http://` or `https://`, a name or address and perhaps a port; `http://` may be left out.
    pub fn at(url: &str) -> Result<Self, HostError> {
        let url = url.trim().trim_end_matches('/');
        let wrong = || HostError::Address(url.chars().take(200).collect());
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: ureq::http::Uri = url.parse().map_err(|_| wrong())?;
        let plain = uri.path().trim_matches('/').is_empty() && uri.query().is_none();
        if !matches!(uri.scheme_str(), Some("http" | "https"))
            || uri.host().is_none_or(str::is_empty)
            || !plain
        {
            return Err(wrong());
        }
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            // A host waits 60 s for a pal that makes its data disk; its own answer should come first.
            .timeout_global(Some(Duration::from_secs(90)))
            .build()
            .new_agent();
        Ok(Host { url, agent })
    }

    /// Its address, in the one spelling that is stored.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Who it is; refuses a host without a common version.
    pub fn info(&self) -> Result<HostInfo, HostError> {
        let info: HostInfo = self.send("asking the host who it is", "GET", "/v1/host", None, None)?;
        if !info.versions.contains(&VERSION) {
            return Err(HostError::Version { theirs: info.versions });
        }
        Ok(info)
    }

    /// The same host for one pal's owner.
    pub fn pal(&self, id: PalId, key: SigningKey) -> PalAt {
        PalAt { host: self.clone(), id, key }
    }

    fn send<A: DeserializeOwned>(
        &self,
        doing: &'static str,
        method: &'static str,
        path: &str,
        body: Option<&[u8]>,
        signature: Option<&str>,
    ) -> Result<A, HostError> {
        let url = format!("{}{path}", self.url);
        let unreachable =
            |source| HostError::Unreachable { doing, url: self.url.clone(), source: Box::new(source) };
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        if let Some(signature) = signature {
            request = request.header(request::HEADER, signature);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let answer = match body {
            Some(body) => {
                request.body(body).map_err(ureq::Error::from).and_then(|request| self.agent.run(request))
            }
            None => request.body(()).map_err(ureq::Error::from).and_then(|request| self.agent.run(request)),
        };
        let mut answer = answer.map_err(unreachable)?;
        let status = answer.status();
        let bytes =
            answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec().map_err(unreachable)?;
        let strange =
            |source| HostError::Strange { doing, url: self.url.clone(), status: status.as_u16(), source };
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(strange);
        }
        let refusal: ApiError = serde_json::from_slice(&bytes).map_err(strange)?;
        Err(HostError::Refused { doing, refusal })
    }
}

/// One pal at its host, asked in its owner's name.
#[derive(Clone, Debug)]
pub struct PalAt {
    host: Host,
    id: PalId,
    key: SigningKey,
}

impl PalAt {
    /// Which pal.
    pub fn id(&self) -> PalId {
        self.id
    }

    /// Creates it, or finds it created.
    pub fn create(&self, wish: &CreatePal) -> Result<PalInfo, HostError> {
        self.ask("creating the pal", "POST", "/v1/pals", Some(wish))
    }

    /// How it is now.
    pub fn info(&self) -> Result<PalInfo, HostError> {
        self.ask("asking how the pal is", "GET", &self.path(""), None::<&()>)
    }

    /// How it is once something changed since `change`, or after about 25 s.
    pub fn changed_since(&self, change: u64) -> Result<PalInfo, HostError> {
        self.ask("waiting for the pal", "GET", &self.path(&format!("?after={change}")), None::<&()>)
    }

    /// Pays the host directly.
    pub fn add_credit(&self, tickets: Vec<TicketText>) -> Result<PalInfo, HostError> {
        self.ask("paying the host", "POST", &self.path("/credit"), Some(&AddCredit { tickets }))
    }

    /// Puts it to sleep.
    pub fn sleep(&self) -> Result<PalInfo, HostError> {
        self.ask("putting the pal to sleep", "POST", &self.path("/sleep"), None::<&()>)
    }

    /// Wakes it.
    pub fn wake(&self) -> Result<PalInfo, HostError> {
        self.ask("waking the pal", "POST", &self.path("/wake"), None::<&()>)
    }

    /// Removes it with its disks.
    pub fn delete(&self) -> Result<PalInfo, HostError> {
        self.ask("deleting the pal", "DELETE", &self.path(""), None::<&()>)
    }

    /// One message of an owner session and its answer.
    pub fn relay(&self, message: &Relay) -> Result<Relay, HostError> {
        self.ask("talking to the pal", "POST", &self.path("/relay"), Some(message))
    }

    /// The host's signatures that give tickets back.
    pub fn give_back(&self, secrets: Vec<String>) -> Result<ReturnedTickets, HostError> {
        self.ask("taking credit back", "POST", &self.path("/return"), Some(&ReturnTickets { secrets }))
    }

    /// At most 500 receipts from number `from`.
    pub fn receipts(&self, from: u64) -> Result<Receipts, HostError> {
        self.ask("fetching receipts", "GET", &self.path(&format!("/receipts?from={from}")), None::<&()>)
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/pals/{}{rest}", self.id)
    }

    fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        doing: &'static str,
        method: &'static str,
        path: &str,
        question: Option<&Q>,
    ) -> Result<A, HostError> {
        let body = question.map(serde_json::to_vec).transpose().map_err(|source| HostError::Strange {
            doing,
            url: self.host.url.clone(),
            status: 0,
            source,
        })?;
        // A POST without a body still says so: some proxies answer 411 otherwise.
        let body = body.or_else(|| (method == "POST").then(Vec::new));
        let signed = request::Request { method, path, body: body.as_deref().unwrap_or_default() };
        let stamp = signed.sign(&self.key, unix_ms(), u64::from_le_bytes(person::random()?));
        self.host.send(doing, method, path, body.as_deref(), Some(&stamp))
    }
}
