//! What a person does on the first day, done through the `cloudpal` program as a person would.

use crate::run::output;
use crate::service::{Party, program};
use crate::state::{Memory, State};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// The state folder and where its seller and data centre are.
pub struct Outside<'a> {
    pub state: &'a State,
    pub mint: String,
    pub host: String,
}

/// What the person wants.
pub struct Wishes<'a> {
    pub name: &'a str,
    pub voucher: u64,
    pub credit: u64,
}

impl Outside<'_> {
    /// Seed, credit, pal and a phone's config: each once in the life of a state folder. Gives what
    /// `up.json` says of the pal.
    pub fn first_day(&self, memory: &mut Memory, wishes: Wishes<'_>) -> Result<Value> {
        self.once(memory, "person-init", || self.cloudpal(&["init"]))?;
        self.once(memory, "credit-bought", || {
            let voucher = self.voucher(wishes.voucher)?;
            self.cloudpal(&["credit", "buy", "--mint", &self.mint, "--voucher", &voucher])
        })?;
        let credit = wishes.credit.to_string();
        self.once(memory, "pal-created", || {
            self.cloudpal(&["create", "--at", &self.host, "--name", wishes.name, "--credit", &credit])
        })?;
        self.once(memory, "phone-added", || self.cloudpal(&["device", "add", "phone"]))?;
        let status = self.cloudpal(&["status"])?;
        Ok(json!({ "name": wishes.name, "status": status }))
    }

    /// A voucher as the mint's operator prints it.
    fn voucher(&self, worth: u64) -> Result<String> {
        let mut print = program(self.state, Party::Mint, "cloudpal-mint");
        let printed = output(print.args(["voucher", &worth.to_string(), "--json"]))?;
        let printed: Value = serde_json::from_str(&printed).context("cloudpal-mint voucher")?;
        printed["vouchers"][0].as_str().map(str::to_owned).context("cloudpal-mint printed no voucher")
    }

    /// Runs `cloudpal ... --json`.
    fn cloudpal(&self, arguments: &[&str]) -> Result<Value> {
        let said = output(program(self.state, Party::Person, "cloudpal").args(arguments).arg("--json"))?;
        serde_json::from_str(&said)
            .with_context(|| format!("`cloudpal {}` said {said:?}", arguments.join(" ")))
    }

    fn once(&self, memory: &mut Memory, what: &str, work: impl FnOnce() -> Result<Value>) -> Result<()> {
        if !memory.done.iter().any(|done| done == what) {
            work()?;
            memory.done.push(what.to_owned());
            self.state.remember(memory)?;
        }
        Ok(())
    }
}

/// A text field of a JSON object.
pub fn text(object: &Value, field: &str) -> Result<String> {
    object[field].as_str().map(str::to_owned).with_context(|| format!("no \"{field}\" in {object}"))
}
