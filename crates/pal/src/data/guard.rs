//! Who may talk to the page: browsers that asked for this pal by its own name or address, and for
//! changes only pages of the pal itself. A foreign web page can neither read (it would need this pal's
//! name in the address bar, see DNS rebinding) nor write; what it may do in a database a token says.

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use cloudpal_protocol::inside::DataStart;
use cloudpal_serve::Owner;

/// The names and addresses of one pal, as they stand in a `Host` header.
#[derive(Clone, Debug)]
pub struct Guard {
    hosts: Vec<String>,
}

/// Who has sent a request, as far as a browser tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Owner,
    OtherSite,
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

    /// For a server of a test.
    #[cfg(test)]
    pub fn at(address: std::net::SocketAddr) -> Self {
        Guard { hosts: vec![address.to_string()] }
    }

    /// Judges a request. One that comes from the pal's own page or a program on one of its devices is marked as its owner's. A
    /// page of another site changes nothing but what a token lets it, which it has to show.
    pub fn admit(&self, request: &mut Request) -> Result<(), Refusal> {
        match self.judge(request.headers())? {
            Sender::Owner => drop(request.extensions_mut().insert(Owner)),
            Sender::OtherSite => {
                let reads = [Method::GET, Method::HEAD].contains(request.method());
                if !reads && !takes_tokens(request.uri().path()) {
                    return Err((
                        StatusCode::FORBIDDEN,
                        "Only the pal's own page, or a program on one of its devices, may change anything here.\n",
                    ));
                }
            }
        }
        Ok(())
    }

    fn judge(&self, headers: &HeaderMap) -> Result<Sender, Refusal> {
        let host = one(headers, HOST.as_str()).filter(|host| self.knows(host));
        let Some(host) = host else {
            return Err((
                StatusCode::MISDIRECTED_REQUEST,
                "This is a pal's page. Open it by the pal's own name, home.NAME.internal.\n",
            ));
        };
        let same_site = match headers.get("sec-fetch-site") {
            None => true,
            // Typed into the address bar, or one of our own.
            Some(site) => site == "same-origin" || site == "none",
        };
        let same_origin = match headers.get(ORIGIN) {
            None => true,
            Some(origin) => origin.to_str().is_ok_and(|origin| origin.strip_prefix("http://") == Some(host)),
        };
        Ok(if same_site && same_origin { Sender::Owner } else { Sender::OtherSite })
    }

    fn knows(&self, host: &str) -> bool {
        let host = host.strip_suffix(":80").unwrap_or(host);
        let host = host.strip_suffix('.').unwrap_or(host);
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

/// Where tokens are looked at: databases are offered to pages of other sites, too.
fn takes_tokens(path: &str) -> bool {
    path.starts_with("/v1/databases/")
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
    use axum::body::Body;

    /// Whether the request counts as the owner's.
    fn admit(method: Method, path: &str, pairs: &[(&'static str, &str)]) -> Result<bool, StatusCode> {
        let guard = Guard::of("ada", "100.64.1.1".parse().unwrap(), "fd00:1::1".parse().unwrap());
        let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        for (name, value) in pairs {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        guard.admit(&mut request).map_err(|(code, _)| code)?;
        Ok(request.extensions().get::<Owner>().is_some())
    }

    fn judge(method: Method, pairs: &[(&'static str, &str)]) -> Result<(), StatusCode> {
        admit(method, "/data/x", pairs).map(drop)
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

    #[test]
    fn a_foreign_page_comes_to_databases_but_never_as_the_owner() {
        let host = ("host", "home.ada.internal");
        let path = "/v1/databases/home/batch";
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            assert_eq!(admit(method.clone(), path, &[host]), Ok(true), "a program");
            for foreign in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")] {
                assert_eq!(admit(method.clone(), path, &[host, foreign]), Ok(false), "{foreign:?}");
            }
            let rebound = [("host", "evil.example"), ("origin", "http://evil.example")];
            assert_eq!(admit(method, path, &rebound), Err(StatusCode::MISDIRECTED_REQUEST));
        }
        assert_eq!(admit(Method::GET, path, &[host, ("sec-fetch-site", "none")]), Ok(true));
        assert_eq!(
            admit(Method::POST, "/v1/databases", &[host, ("origin", "null")]),
            Err(StatusCode::FORBIDDEN)
        );
    }
}
