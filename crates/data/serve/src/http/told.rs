//! Changes as JSON.

use crate::json::tell;
use crate::told::{ToldChange, What};
use crate::wire::Event;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Map, Value, json};

/// An event, with the cursor to go on from.
pub fn event(event: &Event) -> Value {
    let changes: Vec<_> = event.changes.iter().map(change).collect();
    json!({ "cursor": BASE64.encode(&event.cursor), "changes": changes })
}

fn change(change: &ToldChange) -> Value {
    let mut told = Map::new();
    told.insert("sub".into(), json!(change.sub.name()));
    told.insert("kind".into(), json!(change.sub.kind().name()));
    told.insert("writer".into(), json!(change.writer.to_string()));
    told.insert("time_ms".into(), json!(change.wall_ms));
    let what = match &change.what {
        What::Put(key, value) => {
            tell(&mut told, "key", key);
            tell(&mut told, "value", value);
            "put"
        }
        What::Del(key) => {
            tell(&mut told, "key", key);
            "del"
        }
        What::Clear(from, to) => {
            tell(&mut told, "gte", from);
            if let Some(to) = to {
                tell(&mut told, "lt", to);
            }
            "clear"
        }
    };
    told.insert("type".into(), json!(what));
    Value::Object(told)
}
