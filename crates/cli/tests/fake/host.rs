use super::pal::FakePal;
use super::{Fuse, MINT};
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cloudpal_core::{Milli, PublicKey, Secret, Signed, SignedBytes, SigningKey};
use cloudpal_protocol::api::*;
use cloudpal_protocol::price::PriceList;
use cloudpal_protocol::receipt::{Metered, Receipt};
use cloudpal_protocol::request::{HEADER, Request};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

/// A host on a port of the loopback, in a thread that ends with the test.
pub struct FakeHost {
    pub url: String,
    state: Arc<Mutex<State>>,
}

pub struct State {
    pub key: SigningKey,
    pub prices: PriceList,
    /// What it shows, if not what it signs.
    pub shown: Option<PriceList>,
    /// By id.
    pub pals: HashMap<String, FakePal>,
    /// The next pal's keys are made of this.
    pub pal_key: u8,
    pub deleted: Vec<String>,
    /// How often somebody asked how a pal is.
    pub looks: u64,
    /// What each receipt charges.
    pub receipt_cost: Milli,
    nonces: HashSet<u64>,
    sessions: u64,
    fuse: Arc<Fuse>,
}

pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

impl FakeHost {
    pub fn start(fuse: Arc<Fuse>) -> Self {
        let prices = PriceList {
            unit: "cpm".into(),
            since_unix_ms: 0,
            interval_s: 60,
            awake: Milli(1000),
            asleep: Milli(5),
            storage_gib_day: Milli::ZERO,
            traffic_gib: Milli::ZERO,
            grace_s: 7 * 86_400,
            speed: 1,
        };
        let state = Arc::new(Mutex::new(State {
            key: SigningKey::from_secret(&Secret::new([0x40; 32])),
            prices,
            shown: None,
            pals: HashMap::new(),
            pal_key: 0x50,
            deleted: Vec::new(),
            looks: 0,
            receipt_cost: Milli(1000),
            nonces: HashSet::new(),
            sessions: 0,
            fuse,
        }));
        let served = state.clone();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let answer = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                    let served = served.clone();
                    async move { answer(&served, &method, &uri, &headers, &body) }
                };
                axum::serve(listener, Router::new().fallback(answer)).await.unwrap();
            });
        });
        FakeHost { url: format!("http://{}", told.recv().unwrap()), state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The only pal.
    pub fn with_pal<T>(&self, what: impl FnOnce(&mut FakePal) -> T) -> T {
        let mut state = self.state();
        assert_eq!(state.pals.len(), 1);
        what(state.pals.values_mut().next().unwrap())
    }
}

type Answer = Result<Response, ApiError>;

fn refusal(code: ErrorCode, message: &str) -> ApiError {
    ApiError { code, message: message.into() }
}

fn answer(state: &Mutex<State>, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Response {
    let mut state = state.lock().unwrap();
    let lost = || (StatusCode::BAD_GATEWAY, "the answer is lost").into_response();
    // The request may be lost before anything was done, the answer after everything was.
    if state.fuse.is_blown_by_one_more() {
        return lost();
    }
    let answer = state.route(method, uri, headers, body);
    if state.fuse.is_blown_by_one_more() {
        return lost();
    }
    answer.unwrap_or_else(|error| {
        let status =
            if error.code == ErrorCode::NotFound { StatusCode::NOT_FOUND } else { StatusCode::FORBIDDEN };
        (status, Json(error)).into_response()
    })
}

impl State {
    fn route(&mut self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Answer {
        if uri.path() == "/v1/host" {
            return Ok(Json(self.info()).into_response());
        }
        let signer = self.signer(method, uri, headers, body)?;
        let malformed = |_| refusal(ErrorCode::Malformed, "that makes no sense");
        if uri.path() == "/v1/pals" {
            return self.create(serde_json::from_slice(body).map_err(malformed)?, signer);
        }
        let mut parts = uri.path().trim_start_matches("/v1/pals/").split('/');
        let (id, action) = (parts.next().unwrap_or_default().to_owned(), parts.next().unwrap_or_default());
        let missing = || refusal(ErrorCode::NotFound, "there is no such pal of yours here");
        let (key, prices, cost) = (self.key.clone(), self.prices.clone(), self.receipt_cost);
        self.looks += u64::from(method == Method::GET && action.is_empty());
        let pal = self.pals.get_mut(&id).filter(|pal| pal.wish.owner_sign == signer).ok_or_else(missing)?;
        match (method.as_str(), action) {
            ("GET", "") => {
                // A fake boots, or falls asleep, between two looks.
                match pal.info.state {
                    PalState::Booting => pal.to(PalState::Awake),
                    PalState::Quiescing => pal.to(PalState::Asleep),
                    _ => {}
                }
            }
            ("DELETE", "") => {
                let info = Json(pal.info.clone()).into_response();
                self.pals.remove(&id);
                self.deleted.push(id);
                return Ok(info);
            }
            ("POST", "sleep") => pal.to(PalState::Quiescing),
            ("POST", "wake") => pal.wake(),
            ("POST", "credit") => {
                let paid: AddCredit = serde_json::from_slice(body).map_err(malformed)?;
                pal.keep(&paid.tickets);
                if pal.info.state == PalState::Unpaid {
                    pal.wake();
                }
            }
            ("POST", "return") => {
                let wish: ReturnTickets = serde_json::from_slice(body).map_err(malformed)?;
                if wish.secrets.iter().any(|secret| pal.host_has.contains_key(secret)) {
                    return Err(refusal(ErrorCode::Refused, "ticket 1 was accepted already"));
                }
                let signatures = wish.secrets.iter().map(|secret| format!("signed {secret}")).collect();
                return Ok(Json(ReturnedTickets { signatures }).into_response());
            }
            ("POST", "relay") => {
                let relay: Relay = serde_json::from_slice(body).map_err(malformed)?;
                if pal.info.state != PalState::Awake {
                    return Err(refusal(ErrorCode::Conflict, "the pal sleeps; wake it first"));
                }
                let session = relay.session.unwrap_or(self.sessions);
                self.sessions += 1;
                let answer = pal.hear(session, &STANDARD.decode(relay.message).unwrap());
                let relay = Relay { session: Some(session), message: STANDARD.encode(answer) };
                return Ok(Json(relay).into_response());
            }
            ("GET", "receipts") => {
                let from: u64 = uri.query().unwrap().trim_start_matches("from=").parse().unwrap();
                let receipts =
                    receipts(pal, &key, &prices, cost).into_iter().skip(from as usize).take(2).collect();
                let acknowledged = pal.info.acknowledged;
                return Ok(Json(Receipts { receipts, acknowledged }).into_response());
            }
            _ => return Err(refusal(ErrorCode::NotFound, "no such path")),
        }
        Ok(Json(pal.info.clone()).into_response())
    }

    fn signer(
        &mut self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<PublicKey, ApiError> {
        let header = headers.get(HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let request = Request { method: method.as_str(), path: uri.path_and_query().unwrap().as_str(), body };
        let stamp = request
            .check(header, now_ms())
            .map_err(|error| refusal(ErrorCode::Refused, &error.to_string()))?;
        assert!(self.nonces.insert(stamp.nonce), "a nonce was used twice");
        Ok(stamp.key)
    }

    fn create(&mut self, wish: CreatePal, signer: PublicKey) -> Answer {
        if wish.owner_sign != signer {
            return Err(refusal(ErrorCode::Refused, "signed by somebody else"));
        }
        let key = self.pal_key;
        let pal = self.pals.entry(wish.id.to_string()).or_insert_with(|| FakePal::new(wish.clone(), key));
        pal.keep(&wish.tickets);
        Ok(Json(pal.info.clone()).into_response())
    }

    fn info(&self) -> HostInfo {
        HostInfo {
            versions: vec![1],
            name: "a fake host".into(),
            key: self.key.public(),
            till: "02".repeat(33),
            mints: vec![format!("{MINT}/")],
            prices: Signed::sign(&self.prices, &self.key),
            price_list: self.shown.clone().unwrap_or_else(|| self.prices.clone()),
            locktime_margin_s: 3600,
            least_cpm: 2,
            hypervisor: "none".into(),
            unix_ms: now_ms(),
        }
    }
}

/// As many right receipts as the pal is said to have.
fn receipts(pal: &FakePal, key: &SigningKey, prices: &PriceList, cost: Milli) -> Vec<SignedBytes> {
    let list = Signed::sign(prices, key).digest();
    let (mut previous, mut consumed) = (Default::default(), Milli::ZERO);
    (0..pal.info.receipts)
        .map(|number| {
            consumed += cost;
            let from_unix_ms = 1_000_000 + number * 60_000;
            let receipt = Receipt {
                pal: pal.id(),
                number,
                previous,
                from_unix_ms,
                to_unix_ms: from_unix_ms + 60_000,
                metered: Metered::Awake,
                prices: list,
                cost,
                consumed,
                paid: Milli::from_cpm(1000),
            };
            let signed = Signed::sign(&receipt, key);
            previous = signed.digest();
            signed.into_bytes()
        })
        .collect()
}
