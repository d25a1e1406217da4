//! The seller's HTTP interface: the few calls of Cashu that CloudPal makes, blocking.

use std::collections::HashMap;
use std::time::Duration;

use cashu::nuts::nut01::KeysResponse;
use cashu::nuts::nut02::KeysetResponse;
use cashu::nuts::nut03::{SwapRequest, SwapResponse};
use cashu::nuts::nut04::{MintRequest, MintResponse};
use cashu::nuts::nut07::{CheckStateRequest, CheckStateResponse, State};
use cashu::nuts::nut09::{RestoreRequest, RestoreResponse};
use cashu::{BlindSignature, BlindedMessage, CurrencyUnit, Proof, PublicKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::keyset::{Keyset, KeysetError};
use crate::voucher::Voucher;
use crate::{UNIT, VOUCHER_METHOD};

const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REPLY_BYTES: u64 = 8 << 20;
const MAX_KEYSETS: usize = 64;

/// By which way the seller is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Straight.
    Direct,
    /// Through a SOCKS5 proxy such as Tor's: `socks5://127.0.0.1:9050`.
    Socks(String),
}

/// A seller at an address. Keeps no state but its connections.
#[derive(Clone)]
pub struct Seller {
    url: String,
    agent: ureq::Agent,
}

/// A quote for buying. Its id is redacted in Debug.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The seller's name for it; whoever knows it may fetch the tickets, so it is kept like one.
    #[serde(rename = "quote")]
    pub id: String,
    /// Whole cpm paid so far.
    pub amount_paid: u64,
    /// Whole cpm of tickets handed out so far.
    pub amount_issued: u64,
}

/// Why a call to the seller gave no answer to use.
#[derive(Debug, thiserror::Error)]
pub enum SellerError {
    /// No answer came; whether the seller acted is unknown.
    #[error(
        "the seller at {url} cannot be reached: check the address and the connection, then try again; nothing is lost"
    )]
    Unreachable {
        /// Its address.
        url: String,
        /// What the connection said.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The seller said no.
    #[error("the seller refused: {detail} (code {code})")]
    Refused {
        /// NUT-00's error code, or the HTTP status where there is none.
        code: u64,
        /// The seller's words, shortened.
        detail: String,
    },
    /// An answer that is not what the protocol says.
    #[error("the seller at {url} answered something unexpected to {call}: is this a CloudPal seller?")]
    Malformed {
        /// Its address.
        url: String,
        /// The call.
        call: &'static str,
    },
    /// A keyset that cannot be used.
    #[error(transparent)]
    Keyset(#[from] KeysetError),
    /// The address or proxy cannot be used.
    #[error("{given} is not an address to reach a seller by: {why}")]
    Address {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    detail: String,
}

impl Seller {
    /// A seller at `url`, such as `http://127.0.0.1:3338`. Connects to nothing yet.
    pub fn new(url: &str, route: &Route) -> Result<Self, SellerError> {
        let address = |why| SellerError::Address { given: url.to_owned(), why };
        let url = url.trim_end_matches('/');
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(address("it must begin with http:// or https://"));
        }
        let proxy = match route {
            Route::Direct => None,
            Route::Socks(proxy) => {
                let given = proxy.strip_prefix("socks5://").and_then(|rest| rest.rsplit_once(':'));
                let (host, port) = given
                    .and_then(|(host, port)| Some((host, port.parse().ok()?)))
                    .ok_or_else(|| address("the proxy must be given as socks5://HOST:PORT"))?;
                // The proxy resolves the seller's name: a look-up from here would tell what Tor hides.
                let proxy = ureq::Proxy::builder(ureq::ProxyProtocol::Socks5)
                    .host(host)
                    .port(port)
                    .resolve_target(false)
                    .build();
                Some(proxy.map_err(|_| address("the proxy's address is malformed"))?)
            }
        };
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .proxy(proxy)
            .max_redirects(0)
            .build()
            .into();
        Ok(Self { url: url.to_owned(), agent })
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All keysets of unit cpm, ids checked.
    pub fn keysets(&self) -> Result<Vec<Keyset>, SellerError> {
        let list: KeysetResponse = self.get("/v1/keysets", "keysets")?;
        let unit = CurrencyUnit::custom(UNIT);
        let mut keysets = Vec::new();
        for info in list.keysets.into_iter().filter(|info| info.unit == unit).take(MAX_KEYSETS) {
            let keys: KeysResponse = self.get(&format!("/v1/keys/{}", info.id), "keys")?;
            let found = keys.keysets.into_iter().find(|keys| keys.id == info.id);
            let mut keys = found.ok_or_else(|| self.malformed("keys"))?;
            keys.input_fee_ppk = info.input_fee_ppk;
            keys.final_expiry = info.final_expiry;
            keysets.push(Keyset::new(keys, info.active)?);
        }
        Ok(keysets)
    }

    /// Asks for a quote to buy `amount` cpm by voucher.
    pub fn quote(&self, amount: u64) -> Result<Quote, SellerError> {
        self.post(
            &format!("/v1/mint/quote/{VOUCHER_METHOD}"),
            "quote",
            &json!({ "amount": amount, "unit": UNIT }),
        )
    }

    /// Pays a quote by a voucher. Paying the same quote by the same voucher again changes nothing.
    pub fn pay(&self, quote: &str, voucher: &Voucher) -> Result<Quote, SellerError> {
        let body = json!({ "quote": quote, "voucher": voucher.reveal() });
        self.post("/v1/voucher", "voucher", &body)
    }

    /// The quote that a voucher has paid, for whoever lost it in between and still has the voucher.
    pub fn paid_by(&self, voucher: &Voucher) -> Result<Quote, SellerError> {
        self.post("/v1/voucher/quote", "voucher quote", &json!({ "voucher": voucher.reveal() }))
    }

    /// How a quote stands.
    pub fn quote_state(&self, quote: &str) -> Result<Quote, SellerError> {
        self.get(&format!("/v1/mint/quote/{VOUCHER_METHOD}/{}", self.plain(quote)?), "quote state")
    }

    /// Fetches the signatures that a paid quote entitles to.
    pub fn mint(
        &self,
        quote: &str,
        outputs: Vec<BlindedMessage>,
    ) -> Result<Vec<BlindSignature>, SellerError> {
        let request = MintRequest { quote: quote.to_owned(), outputs, signature: None };
        let reply: MintResponse = self.post(&format!("/v1/mint/{VOUCHER_METHOD}"), "mint", &request)?;
        Ok(reply.signatures)
    }

    /// Gives `inputs`, takes signatures on `outputs`. DLEQ proofs of the inputs are stripped: they would
    /// tell the seller nothing it may know.
    pub fn swap(
        &self,
        inputs: &[Proof],
        outputs: Vec<BlindedMessage>,
    ) -> Result<Vec<BlindSignature>, SellerError> {
        let mut inputs = inputs.to_vec();
        for input in &mut inputs {
            input.dleq = None;
        }
        let reply: SwapResponse = self.post("/v1/swap", "swap", &SwapRequest::new(inputs, outputs))?;
        Ok(reply.signatures)
    }

    /// The signatures that were already given on any of `outputs`, by blinded point.
    pub fn restore(
        &self,
        outputs: Vec<BlindedMessage>,
    ) -> Result<HashMap<PublicKey, BlindSignature>, SellerError> {
        let reply: RestoreResponse = self.post("/v1/restore", "restore", &RestoreRequest { outputs })?;
        if reply.outputs.len() != reply.signatures.len() {
            return Err(self.malformed("restore"));
        }
        Ok(reply.outputs.into_iter().map(|output| output.blinded_secret).zip(reply.signatures).collect())
    }

    /// The state of each proof by its Y, in order.
    pub fn states(&self, ys: &[PublicKey]) -> Result<Vec<State>, SellerError> {
        let reply: CheckStateResponse =
            self.post("/v1/checkstate", "checkstate", &CheckStateRequest { ys: ys.to_vec() })?;
        let by_y: HashMap<_, _> = reply.states.into_iter().map(|state| (state.y, state.state)).collect();
        ys.iter().map(|y| by_y.get(y).copied().ok_or_else(|| self.malformed("checkstate"))).collect()
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str, call: &'static str) -> Result<T, SellerError> {
        let reply = self.agent.get(format!("{}{path}", self.url)).call();
        self.read(reply, call)
    }

    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        call: &'static str,
        body: &impl Serialize,
    ) -> Result<T, SellerError> {
        // A settlement that is waited for would hold the seller's connection for a minute.
        let request = self.agent.post(format!("{}{path}", self.url)).header("Prefer", "respond-async");
        let reply = request.send_json(body);
        self.read(reply, call)
    }

    fn read<T: DeserializeOwned>(
        &self,
        reply: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
        call: &'static str,
    ) -> Result<T, SellerError> {
        let unreachable =
            |source| SellerError::Unreachable { url: self.url.clone(), source: Box::new(source) };
        let mut reply = reply.map_err(unreachable)?;
        let status = reply.status();
        let text =
            reply.body_mut().with_config().limit(MAX_REPLY_BYTES).read_to_string().map_err(unreachable)?;
        if status.is_success() {
            return serde_json::from_str(&text).map_err(|_| self.malformed(call));
        }
        // Only 4xx with the protocol's own object is a decision; anything else may be a proxy's.
        let refusal = serde_json::from_str::<Refusal>(&text).ok().filter(|_| status.is_client_error());
        let refusal = refusal.ok_or_else(|| self.malformed(call))?;
        let code = if refusal.code == 0 { u64::from(status.as_u16()) } else { refusal.code };
        Err(SellerError::Refused { code, detail: refusal.detail.chars().take(200).collect() })
    }

    /// A quote id is text from the seller: nothing in it may leave its place in a path.
    pub(crate) fn plain<'a>(&self, quote: &'a str) -> Result<&'a str, SellerError> {
        let plain = quote.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        plain.then_some(quote).ok_or_else(|| self.malformed("quote"))
    }

    pub(crate) fn malformed(&self, call: &'static str) -> SellerError {
        SellerError::Malformed { url: self.url.clone(), call }
    }
}

impl std::fmt::Debug for Quote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Quote([redacted], {} paid, {} issued)", self.amount_paid, self.amount_issued)
    }
}

impl std::fmt::Debug for Seller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seller({})", self.url)
    }
}
