//! Logs and drives of the running pal, as a device uses them: what is stored before a sleep is read after it.

use crate::steps::Day;
use anyhow::{Result, ensure};
use serde_json::Value;

const LOG: &str = "/v1/logs/first-day";
const FILE: &str = "/v1/drives/first-day/files/notes/first.txt";

impl Day {
    /// Appends the marker to a log of the pal and puts it on a drive, so that the search of a sleeping pal looks for
    /// what passed through the store, too.
    pub fn store_data(&mut self) -> Result<()> {
        eprintln!("==> a log and a drive in the pal");
        for room in ["logs", "drives"] {
            self.data("POST", &format!("/v1/{room}"), r#"{"name": "first-day"}"#)?;
        }
        let lines = format!("{}\nsecond\n", self.marker);
        let appended = self.data("POST", &format!("{LOG}/blocks?cut=lines"), &lines)?;
        self.report.check("blocks appended to a log in the pal", appended["length"] == 2, &appended);
        let marker = self.marker.clone();
        let put = self.data("PUT", FILE, &marker)?;
        self.report.check("a file put on a drive in the pal", put["bytes"] == marker.len(), &put);
        Ok(())
    }

    /// Reads it back.
    pub fn check_data(&mut self, what: &'static str) -> Result<()> {
        let block = self.page("GET", &format!("{LOG}/blocks/0"), "")?;
        let file = self.page("GET", FILE, "")?;
        let found = format!(
            "{} and {}, {} and {} bytes",
            block.status,
            file.status,
            block.body.len(),
            file.body.len()
        );
        self.report.check(what, block.body == self.marker && file.body == self.marker, found);
        Ok(())
    }

    fn data(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let answer = self.page(method, path, body)?;
        ensure!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.body);
        Ok(serde_json::from_str(&answer.body)?)
    }
}
