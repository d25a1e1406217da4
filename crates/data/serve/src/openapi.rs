//! The description of the HTTP interface, in OpenAPI 3.1.

/// As it is served.
pub const DOCUMENT: &str = include_str!("openapi.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn the_document_has_every_address_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(super::DOCUMENT).expect("it is JSON");
        let described: BTreeSet<_> = document["paths"].as_object().expect("paths").keys().cloned().collect();
        // The router's way to say that a key may hold slashes.
        let routed = crate::http::paths().into_iter().map(|path| path.replace("{*", "{"));
        assert_eq!(described, routed.collect());
    }
}
