//! The page knows itself as `home.<pal>.internal`; a browser that comes over the loopback says
//! `127.0.0.1`. This changes what a request says of that, and refuses requests that were not meant for this
//! port: a site elsewhere whose name was made to point at the loopback says its own name.

/// A request's head is at most this long, in bytes.
pub const MAX_HEAD: usize = 32 * 1024;

/// What is to be changed into what.
#[derive(Clone, Debug)]
pub struct Names {
    /// Port on the loopback.
    pub port: u16,
    /// The page's own name.
    pub page: String,
}

/// A request that is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Longer than [`MAX_HEAD`], or not HTTP/1.
    Malformed,
    /// Meant for another site.
    OtherHost,
}

impl Refusal {
    /// The whole answer to it.
    pub fn answer(self) -> Vec<u8> {
        match self {
            Refusal::Malformed => page("400 Bad Request", "This is not a request that a browser makes."),
            Refusal::OtherHost => page(
                "421 Misdirected Request",
                "This port is a pal's page. Use the address that cloudpal open printed.",
            ),
        }
    }
}

/// A small page of our own.
pub fn page(status: &str, text: &str) -> Vec<u8> {
    let length = text.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n{text}\n"
    )
    .into_bytes()
}

/// The length of the head in what has come so far, with the empty line; none if it is not whole yet.
pub fn head_length(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(at) if at <= MAX_HEAD => Ok(Some(at + 4)),
        None if bytes.len() <= MAX_HEAD => Ok(None),
        _ => Err(Refusal::Malformed),
    }
}

/// The head as the page should see it. It asks for one answer only, so that every request of the browser
/// comes with a head that passes through here; a switch to another protocol is left as it is.
pub fn rewrite(head: &[u8], names: &Names) -> Result<Vec<u8>, Refusal> {
    let text = std::str::from_utf8(head).map_err(|_| Refusal::Malformed)?;
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let first = lines.next().filter(|line| line.ends_with(" HTTP/1.1") || line.ends_with(" HTTP/1.0"));
    let first = first.ok_or(Refusal::Malformed)?;
    let headers: Vec<(&str, &str)> = lines
        .map(|line| line.split_once(':').map(|(name, value)| (name, value.trim())))
        .collect::<Option<_>>()
        .ok_or(Refusal::Malformed)?;
    let mut hosts = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    match (hosts.next(), hosts.next()) {
        (Some((_, host)), None) if names.is_ours(host) => {}
        (Some(_), None) => return Err(Refusal::OtherHost),
        _ => return Err(Refusal::Malformed),
    }
    let switches = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));

    let mut out = format!("{first}\r\n");
    for (name, value) in headers {
        let line = match name.to_ascii_lowercase().as_str() {
            "host" => format!("{name}: {}", names.page),
            "origin" | "referer" => format!("{name}: {}", names.at_page(value)),
            "connection" | "keep-alive" if !switches => continue,
            _ => format!("{name}: {value}"),
        };
        out.push_str(&line);
        out.push_str("\r\n");
    }
    if !switches {
        out.push_str("Connection: close\r\n");
    }
    out.push_str("\r\n");
    Ok(out.into_bytes())
}

impl Names {
    fn is_ours(&self, host: &str) -> bool {
        let port = self.port;
        ["127.0.0.1", "localhost", "[::1]"]
            .iter()
            .any(|name| host == format!("{name}:{port}") || (port == 80 && host == *name))
    }

    // Another site's origin stays as it is, for the page to refuse.
    fn at_page(&self, url: &str) -> String {
        let rest = url.strip_prefix("http://").unwrap_or_default();
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if self.is_ours(host) { format!("http://{}{path}", self.page) } else { url.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names { port: 8080, page: "home.ada.internal".into() }
    }

    fn rewritten(head: &str) -> Result<String, Refusal> {
        rewrite(head.as_bytes(), &names()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn the_page_sees_its_own_name_and_one_request() {
        let head = "POST /unlock?a=b HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: keep-alive\r\n\
                    Origin: http://127.0.0.1:8080\r\nReferer: http://localhost:8080/x/y\r\nContent-Length: 3\r\n\r\n";
        let want = "POST /unlock?a=b HTTP/1.1\r\nHost: home.ada.internal\r\nOrigin: http://home.ada.internal\r\n\
                    Referer: http://home.ada.internal/x/y\r\nContent-Length: 3\r\nConnection: close\r\n\r\n";
        assert_eq!(rewritten(head).unwrap(), want);
    }

    #[test]
    fn other_sites_are_told_apart() {
        for host in ["evil.example:8080", "127.0.0.1", "127.0.0.1:80", "127.0.0.1.evil.example:8080", ""] {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(rewritten(&head), Err(Refusal::OtherHost), "{host}");
        }
        let head = "GET / HTTP/1.1\r\nHost: localhost:8080\r\nOrigin: http://evil.example\r\n\r\n";
        assert!(rewritten(head).unwrap().contains("Origin: http://evil.example\r\n"));
    }

    #[test]
    fn a_switch_of_protocols_is_left_alone() {
        let head = "GET /s HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let out = rewritten(head).unwrap();
        assert!(out.contains("Connection: Upgrade\r\n") && !out.contains("close"));
    }

    #[test]
    fn garbage_is_refused() {
        for head in [
            "\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: localhost:8080\r\nHost: localhost:8080\r\n\r\n",
        ] {
            assert_eq!(rewritten(head), Err(Refusal::Malformed), "{head:?}");
        }
        assert_eq!(head_length(b"GET / HTTP/1.1\r\n"), Ok(None));
        assert_eq!(head_length(b"GET / HTTP/1.1\r\n\r\nrest"), Ok(Some(18)));
        assert_eq!(head_length(&[b'x'; MAX_HEAD + 1]), Err(Refusal::Malformed));
    }
}
