//! What a run found: one JSON object as `architecture.md` has it, or a table; and the judgment of each
//! promise.

use serde_json::{Map, Value, json};

/// Figures, and what they were judged by.
pub struct Report {
    figures: Map<String, Value>,
    checks: Vec<Check>,
}

/// One promise: kept or not, and what was seen.
struct Check {
    what: &'static str,
    kept: bool,
    saw: String,
}

impl Report {
    pub fn new(what: &str, seed: u64) -> Self {
        let mut figures = Map::new();
        figures.insert("what".into(), what.into());
        figures.insert("seed".into(), seed.into());
        Report { figures, checks: Vec::new() }
    }

    /// A figure. One that was not measured is never set.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.into(), value.into());
    }

    /// Judges a promise, and says at once when it is broken.
    pub fn check(&mut self, what: &'static str, kept: bool, saw: impl ToString) {
        let saw = saw.to_string();
        eprintln!("    {} {what}: {saw}", if kept { "ok " } else { "NOT" });
        self.checks.push(Check { what, kept, saw });
    }

    /// Whether every promise was kept. A run that judged nothing kept none.
    pub fn ok(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.kept)
    }

    /// Promises that were not kept.
    pub fn broken(&self) -> Vec<String> {
        let broken = self.checks.iter().filter(|check| !check.kept);
        broken.map(|check| format!("{}: {}", check.what, check.saw)).collect()
    }

    pub fn count(&self) -> usize {
        self.checks.len()
    }

    fn object(&self) -> Value {
        let mut object = self.figures.clone();
        object.insert("ok".into(), self.ok().into());
        let checks = self.checks.iter();
        let checks: Vec<_> =
            checks.map(|check| json!({ "what": check.what, "ok": check.kept, "saw": check.saw })).collect();
        object.insert("checks".into(), checks.into());
        object.into()
    }

    /// Prints it on standard output, in one of its two forms. Gives whether all is well.
    pub fn print(&self, as_json: bool) -> bool {
        if as_json {
            println!("{}", self.object());
            return self.ok();
        }
        for (name, value) in &self.figures {
            match value {
                Value::Object(parts) => {
                    println!("{name}");
                    parts.iter().for_each(|(part, value)| println!("  {part:<24} {}", plain(value)));
                }
                value => println!("{name:<26} {}", plain(value)),
            }
        }
        println!();
        for check in &self.checks {
            println!("{:<6} {}: {}", if check.kept { "ok" } else { "NOT OK" }, check.what, check.saw);
        }
        self.ok()
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join("  "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_promise_breaks_the_run_and_nothing_judged_is_not_well() {
        let mut report = Report::new("demo", 1);
        assert!(!report.ok());
        report.check("a", true, 1);
        assert!(report.ok());
        report.check("b", false, 2);
        assert!(!report.ok());
        assert_eq!(report.broken(), ["b: 2"]);
        assert_eq!(report.object()["ok"], false);
    }
}
