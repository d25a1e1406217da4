//! Saying where two answers differ.

use serde_json::Value;

/// The first place where two answers differ, shortened.
pub fn difference(a: &Value, b: &Value) -> String {
    let short = |value: &Value| value.to_string().chars().take(300).collect::<String>();
    match (a, b) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let at = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or_default();
            format!("[{at}] {}", difference(&a[at], &b[at]))
        }
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            let field =
                a.iter().find(|(name, value)| b.get(*name) != Some(value)).map(|(name, _)| name.clone());
            let field = field.unwrap_or_default();
            let missing = Value::Null;
            format!("{field} {}", difference(&a[&field], b.get(&field).unwrap_or(&missing)))
        }
        (Value::Array(a), Value::Array(b)) => {
            let at = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
            let (one, other) = (a.get(at).unwrap_or(&Value::Null), b.get(at).unwrap_or(&Value::Null));
            format!(
                "{} elements instead of {}, [{at}] {} instead of {}",
                a.len(),
                b.len(),
                short(one),
                short(other)
            )
        }
        _ => format!("{} instead of {}", short(a), short(b)),
    }
}
