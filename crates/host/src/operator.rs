//! The operator's commands. They talk to the running agent over its HTTP interface, signed with the
//! host's own key.

use crate::api::operator::OperatorPal;
use crate::config::Config;
use crate::keys::Keys;
use crate::time::unix_ms;
use anyhow::Context;
use cloudpal_core::PalId;
use cloudpal_protocol::api::{ApiError, ErrorCode, PalInfo, PalState};
use cloudpal_protocol::request::{HEADER, Request};
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::Duration;

/// Sleeping and waking a pal takes at most this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// An operator's command that was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// No agent answers.
    #[error("no agent answers at {0}; start it with `cloudpal-host serve`")]
    Unreachable(String, #[source] Box<ureq::Error>),
    /// The agent refused.
    #[error("{}", .0.message)]
    Refused(ApiError),
    /// Would destroy what cannot be made again.
    #[error("this removes the pal and its owner's data for good; add --yes if that is meant")]
    WouldLoseData,
}

impl OperatorError {
    /// As documented in `--help`.
    pub fn exit_code(&self) -> u8 {
        match self {
            OperatorError::Unreachable(..) => 5,
            OperatorError::WouldLoseData => 6,
            OperatorError::Refused(error) => match error.code {
                ErrorCode::Malformed => 2,
                ErrorCode::NotFound => 3,
                ErrorCode::Refused => 4,
                ErrorCode::Unreachable => 5,
                ErrorCode::Conflict | ErrorCode::Full | ErrorCode::Internal => 1,
            },
        }
    }
}

/// A connection to the running agent.
pub struct Operator {
    url: String,
    keys: Keys,
    agent: ureq::Agent,
}

impl Operator {
    /// From the state folder's settings and keys.
    pub fn open(state: &Path) -> anyhow::Result<Operator> {
        let config = Config::load(state)?;
        let keys = Keys::open(&state.join("keys"))?;
        let settings =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        Ok(Operator { url: format!("http://{}", config.listen), keys, agent: settings.build().into() })
    }

    fn sign(&self, method: &str, path: &str) -> anyhow::Result<String> {
        let random = crate::keys::random().context("the operating system gives no randomness")?;
        let nonce = random.expose().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Ok(Request { method, path, body: &[] }.sign(&self.keys.sign, unix_ms(), nonce))
    }

    fn answer<T: DeserializeOwned>(
        &self,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> anyhow::Result<T> {
        let mut response =
            sent.map_err(|error| OperatorError::Unreachable(self.url.clone(), error.into()))?;
        if response.status().is_success() {
            return response.body_mut().read_json().context("the agent's answer cannot be read");
        }
        let error: ApiError = response.body_mut().read_json().context("the agent's answer cannot be read")?;
        Err(OperatorError::Refused(error).into())
    }

    /// All pals.
    pub fn pals(&self) -> anyhow::Result<Vec<OperatorPal>> {
        let path = "/v1/operator/pals";
        let header = self.sign("GET", path)?;
        self.answer(self.agent.get(format!("{}{path}", self.url)).header(HEADER, header).call())
    }

    fn post<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let header = self.sign("POST", path)?;
        self.answer(self.agent.post(format!("{}{path}", self.url)).header(HEADER, header).send_empty())
    }

    fn post_pal(&self, pal: PalId, action: &str) -> anyhow::Result<PalInfo> {
        self.post(&format!("/v1/operator/pals/{pal}/{action}"))
    }

    /// Sleep, wake or remove a pal, and say where it is then.
    pub fn act(&self, pal: PalId, action: &str) -> anyhow::Result<()> {
        let info = self.post_pal(pal, action)?;
        println!("{}", serde_json::json!({ "id": info.id, "state": info.state }));
        Ok(())
    }

    /// What the pals do.
    pub fn print_status(&self, json: bool) -> anyhow::Result<()> {
        let pals = self.pals()?;
        if json {
            println!("{}", serde_json::to_string(&pals)?);
            return Ok(());
        }
        println!(
            "{:<10} {:<10} {:<16} {:>6} {:>12} {:>12}",
            "pal", "state", "address", "wakes", "paid", "used"
        );
        for pal in pals {
            let info = pal.info;
            let state = serde_json::to_value(info.state)?;
            println!(
                "{:<10} {:<10} {:<16} {:>6} {:>12} {:>12}",
                info.id.short(),
                state.as_str().unwrap_or_default(),
                info.public_v4,
                info.wakes,
                info.account.paid.to_string(),
                info.account.consumed.to_string(),
            );
        }
        Ok(())
    }
}

/// Puts every pal to sleep through the running agent, if there is one, and takes the network down.
pub fn stop_all(state: &Path) -> anyhow::Result<()> {
    let operator = Operator::open(state)?;
    let pals = match operator.pals() {
        Ok(pals) => pals,
        Err(error) if matches!(error.downcast_ref(), Some(OperatorError::Unreachable(..))) => {
            return crate::serve::stop_without_agent(state);
        }
        Err(error) => return Err(error),
    };
    for pal in pals.into_iter().filter(|pal| pal.machine_pid.is_some()) {
        let id = pal.info.id;
        eprintln!("putting {} to sleep", id.short());
        let info = operator.post_pal(id, "sleep")?;
        let asleep = matches!(info.state, PalState::Asleep | PalState::Unpaid);
        anyhow::ensure!(asleep, "pal {} did not go to sleep; see the agent's log", id.short());
    }
    operator.post::<()>("/v1/operator/stop")
}
