//! What a mirror would do or did, file by file.

use crate::printable::word;
use crate::remote::mirror::Target;
use crate::terminal::Report;
use crate::told::count;
use cloudpal_drive::mirror::{Mirrored, Op, Step, Surplus};
use serde_json::{Value, json};

/// What is done to one file that is not the same on both sides.
pub struct Planned {
    pub op: Op,
    path: String,
    bytes: u64,
    /// Why it is left out, if it is.
    why: Option<String>,
}

/// All of it.
#[derive(Default)]
pub struct Plan {
    pub steps: Vec<Planned>,
    pub done: Mirrored,
}

impl Planned {
    fn word(&self, surplus: Surplus) -> &'static str {
        match (self.op, surplus) {
            (Op::Add, _) => "add",
            (Op::Change, _) => "change",
            (Op::Rights, _) => "rights",
            (Op::Remove, Surplus::Delete) => "delete",
            (Op::Remove, Surplus::Keep) => "keep",
            (Op::Equal, _) => "equal",
            (Op::LeaveOut, _) => "left out",
        }
    }

    /// For a person.
    pub fn line(&self, surplus: Surplus) -> String {
        let why = self.why.as_ref().map(|why| format!(": {}", word(why))).unwrap_or_default();
        format!("{:>9}  {}{why}", self.word(surplus), word(&self.path))
    }

    fn json(&self, surplus: Surplus) -> Value {
        let mut json = json!({ "path": self.path, "what": self.word(surplus), "bytes": self.bytes });
        if let Some(why) = &self.why {
            json["why"] = json!(why);
        }
        json
    }
}

impl Plan {
    /// Takes note of a step.
    pub fn note(&mut self, step: &Step<'_>) {
        if step.op != Op::Equal {
            let (path, why) = (step.path.to_owned(), step.reason.map(ToString::to_string));
            self.steps.push(Planned { op: step.op, path, bytes: step.bytes_added, why });
        }
    }

    /// Whether nothing at all would be left of what is there.
    pub fn empties(&self) -> bool {
        self.done.removed > 0 && self.done.added + self.done.changed + self.done.equal == 0
    }

    /// As the answer to a dry run.
    pub fn foreseen(&self, surplus: Surplus, version: u64) -> Report {
        let mut lines: Vec<_> = self.steps.iter().map(|step| step.line(surplus)).collect();
        let deleted = if surplus == Surplus::Delete { self.done.removed } else { 0 };
        let kept = self.done.removed - deleted;
        lines.push(format!("{}. Nothing was done.", self.sentence("would be ", deleted)));
        lines.extend(kept_line(kept));
        let mut json = self.json(deleted, kept);
        json["dry_run"] = json!(true);
        json["version"] = json!(version);
        json["would"] = self.steps.iter().map(|step| step.json(surplus)).collect();
        Report::new(lines.join("\n"), json)
    }

    /// As the result of a mirror that led from one version of the drive to another.
    pub fn report(&self, target: Target, kept: u64, before: u64, after: u64) -> Report {
        let left_out = self.steps.iter().filter(|step| step.op == Op::LeaveOut);
        let mut lines: Vec<_> = left_out.map(|step| step.line(Surplus::Delete)).collect();
        lines.push(format!("{}.", self.sentence("", self.done.removed)));
        lines.extend(kept_line(kept));
        if target == Target::Drive && after != before {
            lines.push(format!(
                "The drive is at version {after}; --at-version {before} of `ls`, `get` and `mirror --to` shows it as it was."
            ));
        }
        let mut json = self.json(self.done.removed, kept);
        json["dry_run"] = json!(false);
        json["version"] = json!(after);
        json["version_before"] = json!(before);
        Report::new(lines.join("\n"), json)
    }

    fn sentence(&self, would: &str, deleted: u64) -> String {
        let Mirrored { files, added, changed, equal, left_out, bytes_added, .. } = self.done;
        format!(
            "{}: {added} {would}added, {changed} {would}changed, {deleted} {would}deleted, {equal} equal, \
             {left_out} left out; {}",
            count(files, "file"),
            count(bytes_added, "byte")
        )
    }

    fn json(&self, deleted: u64, kept: u64) -> Value {
        let Mirrored { files, added, changed, equal, bytes_added, bytes_removed, .. } = self.done;
        let left_out = self.steps.iter().filter(|step| step.op == Op::LeaveOut);
        let left_out: Vec<_> = left_out.map(|step| json!({ "path": step.path, "why": step.why })).collect();
        json!({
            "files": files, "added": added, "changed": changed, "removed": deleted, "kept": kept, "equal": equal,
            "left_out": left_out, "bytes_added": bytes_added, "bytes_removed": bytes_removed,
        })
    }
}

fn kept_line(kept: u64) -> Option<String> {
    (kept > 0).then(|| {
        format!("Kept {} that only this side has; --delete deletes what is only here.", count(kept, "file"))
    })
}
