//! How far each member's log has come here, for people.

use crate::printable::word;
use crate::told::text;
use serde_json::Value;

/// A line for each log.
pub fn lines(info: &Value) -> Vec<String> {
    info["progress"].as_array().into_iter().flatten().map(line).collect()
}

fn line(progress: &Value) -> String {
    let number = |name: &str| progress[name].as_u64().unwrap_or_default();
    let (length, held, read) = (number("length"), number("held"), number("read"));
    let state = if progress["forked"] == true {
        "its device signed two histories: it must join again with `cloudpal db renew`".to_owned()
    } else if held < length {
        format!("{held} of {length} blocks are here")
    } else if progress["locked"] == true {
        format!("{read} of {length} blocks read; there is no key here for the next")
    } else if read < length {
        format!("{read} of {length} blocks read")
    } else {
        format!("all {length} blocks known of are here")
    };
    format!("  {:<16}  {state}", word(text(progress, "name")))
}
