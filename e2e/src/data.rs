//! Logs, drives and a database of the running pal, as a device uses them: what is stored before a sleep is read after it.

use crate::steps::Day;
use anyhow::{Result, ensure};
use serde_json::{Value, json};

const LOG: &str = "/v1/logs/first-day";
const FILE: &str = "/v1/drives/first-day/files/notes/first.txt";
const BASE: &str = "/v1/databases/first-day";

impl Day {
    /// Appends the marker to a log of the pal and puts it on a drive and into a database, so that the search of a sleeping pal looks for
    /// what passed through the store, too.
    pub fn store_data(&mut self) -> Result<()> {
        eprintln!("==> a log, a drive and a database in the pal");
        for room in ["logs", "drives", "databases"] {
            self.data("POST", &format!("/v1/{room}"), r#"{"name": "first-day"}"#)?;
        }
        let lines = format!("{}\nsecond\n", self.marker);
        let appended = self.data("POST", &format!("{LOG}/blocks?cut=lines"), &lines)?;
        self.report.check("blocks appended to a log in the pal", appended["length"] == 2, &appended);
        let marker = self.marker.clone();
        let put = self.data("PUT", FILE, &marker)?;
        self.report.check("a file put on a drive in the pal", put["bytes"] == marker.len(), &put);
        let operations = json!([{ "type": "put", "key": "first", "value": marker }]);
        let batch = json!({ "durability": "durable", "operations": operations }).to_string();
        let written = self.data("POST", &format!("{BASE}/batch"), &batch)?;
        self.report.check("a key put into a database in the pal", written["batch"].is_string(), &written);
        Ok(())
    }

    /// Reads it back.
    pub fn check_data(&mut self, what: &'static str) -> Result<()> {
        let block = self.page("GET", &format!("{LOG}/blocks/0"), "")?;
        let file = self.page("GET", FILE, "")?;
        let entry = self.page("GET", &format!("{BASE}/entries/first"), "")?;
        let all = [block, file, entry];
        let found =
            all.each_ref().map(|answer| format!("{} with {} bytes", answer.status, answer.body.len()));
        let whole = all.iter().all(|answer| answer.body == self.marker);
        self.report.check(what, whole, found.join(", "));
        Ok(())
    }

    fn data(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let answer = self.page(method, path, body)?;
        ensure!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.body);
        Ok(serde_json::from_str(&answer.body)?)
    }
}
