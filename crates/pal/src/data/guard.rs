//! Who may talk to the page: browsers that asked for this pal by its own name or address, and for
//! changes only pages of the pal itself. A foreign web page can neither read (it would need this pal's
//! name in the address bar, see DNS rebinding) nor write.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use cloudpal_protocol::inside::DataStart;

/// The names and addresses of one pal, as they stand in a `Host` header.
#[derive(Clone, Debug)]
pub struct Guard {
    hosts: Vec<String>,
}

/// What is said to who may not.
pub type Refusal = (StatusCode, &'static str);

impl Guard {
    /// For the pal that `start` tells of.
    pub fn new(start: &DataStart) -> Self {
        Self::of(&start.name, start.overlay_v4, start.overlay_v6)
    }

    fn of(name: &str, v4: std::net::Ipv4Addr, v6: std::net::Ipv6Addr) -> Self {
        let hosts =
            [format!("home.{name}.internal"), format!("{name}.internal"), v4.to_string(), format!("[{v6}]")];
        Guard { hosts: hosts.into() }
    }

    /// Judges a request by its method and headers.
    pub fn judge(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = one(headers, HOST.as_str()).filter(|host| self.knows(host));
        let Some(host) = host else {
            return Err((
                StatusCode::MISDIRECTED_REQUEST,
                "This is a pal's page. Open it by the pal's own name, home.NAME.internal.\n",
            ));
        };
        if [Method::GET, Method::HEAD].contains(method) {
            return Ok(());
        }
        let same_site = match headers.get("sec-fetch-site") {
            None => true,
            Some(site) => site == "same-origin",
        };
        let same_origin = match headers.get(ORIGIN) {
            None => true,
            Some(origin) => origin.to_str().is_ok_and(|origin| origin.strip_prefix("http://") == Some(host)),
        };
        if same_site && same_origin {
            return Ok(());
        }
        Err((
            StatusCode::FORBIDDEN,
            "Only the pal's own page, or a program on one of its devices, may change anything here.\n",
        ))
    }

    fn knows(&self, host: &str) -> bool {
        let host = host.strip_suffix(":80").unwrap_or(host);
        let host = host.strip_suffix('.').unwrap_or(host);
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

/// A header that is there exactly once and is text.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(method: Method, pairs: &[(&'static str, &str)]) -> Result<(), StatusCode> {
        let guard = Guard::of("ada", "100.64.1.1".parse().unwrap(), "fd00:1::1".parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        guard.judge(&method, &headers).map_err(|(code, _)| code)
    }

    #[test]
    fn knows_its_own_names_only() {
        for host in
            ["home.ada.internal", "HOME.ada.internal:80", "ada.internal.", "100.64.1.1", "[fd00:1::1]:80"]
        {
            assert_eq!(judge(Method::GET, &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "home.eve.internal",
            "home.ada.internal:8080",
            "home.ada.internal.evil.example",
            "",
            "100.64.1.2",
        ] {
            assert_eq!(judge(Method::GET, &[("host", host)]), Err(StatusCode::MISDIRECTED_REQUEST), "{host}");
        }
        assert!(judge(Method::GET, &[]).is_err());
        assert!(judge(Method::GET, &[("host", "ada.internal"), ("host", "ada.internal")]).is_err());
    }

    #[test]
    fn a_foreign_page_changes_nothing() {
        let host = ("host", "home.ada.internal");
        assert_eq!(judge(Method::PUT, &[host]), Ok(()), "a program");
        assert_eq!(
            judge(
                Method::PUT,
                &[host, ("origin", "http://home.ada.internal"), ("sec-fetch-site", "same-origin")]
            ),
            Ok(())
        );
        for foreign in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "https://home.ada.internal"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            for method in [Method::PUT, Method::DELETE, Method::POST] {
                assert_eq!(judge(method, &[host, foreign]), Err(StatusCode::FORBIDDEN), "{foreign:?}");
            }
        }
    }
}
