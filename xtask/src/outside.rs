//! What a person does on the first day, done through the `cloudpal` program as a person would.

use crate::run::{output, output_of};
use crate::service::{Party, program};
use crate::state::{Memory, State};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::fs;

/// The device that `up` adds.
pub const DEVICE: &str = "phone";

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
    pub fn first_day(&self, memory: &mut Memory, wishes: &Wishes<'_>) -> Result<Value> {
        memory.once(self.state, "person-init", || self.cloudpal(&["init"]).map(drop))?;
        memory.once(self.state, "credit-bought", || self.buy(wishes.voucher))?;
        let credit = wishes.credit.to_string();
        memory.once(self.state, "pal-created", || {
            eprintln!("    its first boot takes some seconds without KVM");
            self.cloudpal(&["create", "--at", &self.host, "--name", wishes.name, "--credit", &credit])
                .map(drop)
        })?;
        let device = self.cloudpal(&["device", "add", DEVICE])?;
        let conf = text(&device, "conf")?;
        let status = self.cloudpal(&["status"])?;
        let pal = status["pals"].get(0).context("`cloudpal status` shows no pal")?;
        self.describe(pal, &status["purse_cpm"], &conf)
    }

    /// The phone's config as a QR code for the terminal. It holds the phone's private key.
    pub fn qr(state: &State) -> Result<String> {
        let said = output(program(state, Party::Person, "cloudpal").args(["device", "add", DEVICE, "--qr"]))?;
        let code = said.lines().take_while(|line| !line.starts_with(DEVICE)).collect::<Vec<_>>();
        Ok(code.join("\n"))
    }

    fn buy(&self, worth: u64) -> Result<()> {
        let mut print = program(self.state, Party::Mint, "cloudpal-mint");
        let printed = output(print.args(["voucher", &worth.to_string(), "--json"]))?;
        let printed: Value = serde_json::from_str(&printed).context("cloudpal-mint voucher")?;
        let voucher = printed["vouchers"][0].as_str().context("cloudpal-mint printed no voucher")?;
        let mut buy = program(self.state, Party::Person, "cloudpal");
        // By standard input: whoever reads the voucher first can spend it, and arguments are public.
        output_of(buy.args(["credit", "buy", "--mint", &self.mint, "--json"]), voucher).map(drop)
    }

    /// Runs `cloudpal ... --json`.
    fn cloudpal(&self, arguments: &[&str]) -> Result<Value> {
        let said = output(program(self.state, Party::Person, "cloudpal").args(arguments).arg("--json"))?;
        serde_json::from_str(&said)
            .with_context(|| format!("`cloudpal {}` said {said:?}", arguments.join(" ")))
    }

    fn describe(&self, pal: &Value, purse_cpm: &Value, conf: &str) -> Result<Value> {
        let settings = fs::read_to_string(conf).with_context(|| format!("cannot read {conf}"))?;
        let overlay = setting(&settings, "DNS").context("the phone's config names no resolver")?;
        let (v4, v6) = overlay.split_once(", ").context("the phone's config names one resolver only")?;
        let name = text(pal, "name")?;
        Ok(json!({
            "id": pal["id"],
            "name": name,
            "page_url": format!("http://home.{name}.internal/"),
            "page_url_v4": format!("http://{v4}/"),
            "public_address": pal["public_v4"],
            "public_v6": pal["public_v6"],
            "overlay_v4": v4,
            "overlay_v6": v6,
            "dns": v4,
            "names": [format!("home.{name}.internal"), format!("{DEVICE}.{name}.internal")],
            "echo": format!("{v4}:7"),
            "wireguard": {
                "endpoint": setting(&settings, "Endpoint"),
                "public_key": setting(&settings, "PublicKey"),
                "conf": conf,
            },
            "balance": { "purse_cpm": purse_cpm, "pal_cpm": pal["held_cpm"], "host_milli_cpm": pal["at_host_milli_cpm"] },
        }))
    }
}

/// A text field of a JSON object.
pub fn text(object: &Value, field: &str) -> Result<String> {
    object[field].as_str().map(str::to_owned).with_context(|| format!("no \"{field}\" in {object}"))
}

/// `name = value` of a WireGuard config.
fn setting<'a>(conf: &'a str, name: &str) -> Option<&'a str> {
    conf.lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_key_that_ends_in_an_equals_sign_is_read_whole() {
        let conf = "[Interface]\nDNS = 100.64.0.1, fd00::1\n[Peer]\nPublicKey = abc=\n";
        assert_eq!(super::setting(conf, "PublicKey"), Some("abc="));
        assert_eq!(super::setting(conf, "Endpoint"), None);
    }
}
