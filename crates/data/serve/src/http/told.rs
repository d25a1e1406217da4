//! Changes, conflicts and members as JSON.

use super::form::tell;
use crate::told::{ToldChange, What, role, versions};
use crate::wire::Event;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use cloudpal_base::{Conflict, Member, Version};
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

/// A conflict with all its versions, the one that is shown first.
pub fn conflict(conflict: &Conflict) -> Value {
    let mut told = Map::new();
    tell(&mut told, "key", &conflict.key);
    if !conflict.path.is_empty() {
        tell(&mut told, "path", &conflict.path);
    }
    told.insert("versions".into(), versions(conflict).map(version).collect());
    Value::Object(told)
}

fn version(version: &Version) -> Value {
    let mut told = Map::new();
    tell(&mut told, "value", &version.value);
    told.insert("writer".into(), json!(version.dot.client.to_string()));
    told.insert("time_ms".into(), json!(version.stamp.wall_ms));
    Value::Object(told)
}

/// A member.
pub fn member(member: &Member) -> Value {
    json!({
        "writer": member.writer().client().to_string(),
        "log": member.writer().to_string(),
        "name": member.name,
        "role": role(member),
    })
}
