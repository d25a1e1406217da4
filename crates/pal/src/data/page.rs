//! The pal's home page in plain words: one HTML document, no script, nothing from elsewhere.

use super::status::{Credit, Device, Status};
use cloudpal_core::Milli;
use cloudpal_protocol::guest::{DataState, WakeReason};
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");

/// Renders the page. `nonce` is the one that its policy allows the style by.
pub fn render(status: &Status, nonce: &str) -> String {
    let name = escape(&status.name);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{name} - your pal</title>\n<style nonce=\"{nonce}\">{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>{name}</h1><p class=\"lead\">Your own cloud. It is awake and you are connected to it.</p></header>\n<main>\n"
    );
    page.push_str(&data(status));
    page.push_str(&devices(status));
    page.push_str(&credit(&status.credit, status.now_unix_ms));
    page.push_str(&waking(status));
    page.push_str(PRIVACY);
    let _ = write!(
        page,
        "</main>\n<footer><p>Address {} and {} &middot; life number {} &middot; <a href=\"/api/status\">the same for programs</a></p></footer>\n</body>\n</html>\n",
        status.overlay_v4, status.overlay_v6, status.generation
    );
    page
}

fn section(id: &str, title: &str, body: &str) -> String {
    format!("<section aria-labelledby=\"{id}\"><h2 id=\"{id}\">{title}</h2>\n{body}</section>\n")
}

fn data(status: &Status) -> String {
    match status.data {
        DataState::Unlocked => section(
            "data",
            "Your data",
            "<p class=\"state open\"><strong>Unlocked.</strong> Your files can be read and written from your devices.</p>\
             <p><a href=\"/data/\">List of files</a>. It locks by itself when the pal goes to sleep, or at once with <code>cloudpal lock</code>.</p>\n",
        ),
        DataState::Locked => section(
            "data",
            "Your data",
            "<p class=\"state shut\"><strong>Locked.</strong> The network works; your files stay encrypted until you unlock them.</p>\
             <p>To unlock, run <code>cloudpal unlock</code> on the device that holds your key. The key goes straight into this pal; \
             the data centre passes it on without being able to read it.</p>\n",
        ),
    }
}

fn devices(status: &Status) -> String {
    if status.devices.is_empty() {
        return section(
            "devices",
            "Your devices",
            "<p>None yet. Add one with <code>cloudpal device add NAME</code>.</p>\n",
        );
    }
    let now_s = status.now_unix_ms / 1000;
    let rows: String = status.devices.iter().map(|device| row(device, now_s)).collect();
    section(
        "devices",
        "Your devices",
        &format!(
            "<table><thead><tr><th scope=\"col\">Name</th><th scope=\"col\">Last heard</th><th scope=\"col\">Address</th></tr></thead>\n<tbody>{rows}</tbody></table>\n"
        ),
    )
}

fn row(device: &Device, now_s: u64) -> String {
    let heard = match device.seen_unix_s {
        Some(_) if device.connected => "connected".to_owned(),
        Some(at) => format!("{} ago", span(now_s.saturating_sub(at))),
        None => "not since the pal started".to_owned(),
    };
    let class = if device.connected { "yes" } else { "no" };
    format!(
        "<tr><th scope=\"row\">{}</th><td class=\"{class}\">{heard}</td><td>{}</td></tr>\n",
        escape(&device.name),
        device.v4
    )
}

fn credit(credit: &Credit, now_unix_ms: u64) -> String {
    let mut body = String::new();
    if let Some(end) = credit.runs_out_unix_ms {
        let left = span(end.saturating_sub(now_unix_ms) / 1000);
        let _ = write!(
            body,
            "<p class=\"state shut\"><strong>Credit runs out in {left}.</strong> Top up with <code>cloudpal credit add</code>"
        );
        if let Some(kept) = credit.kept_until_unix_ms {
            let _ = write!(
                body,
                "; without credit the pal sleeps, and is kept for {} more",
                span(kept.saturating_sub(now_unix_ms) / 1000)
            );
        }
        body.push_str(".</p>");
    }
    let _ = write!(
        body,
        "<dl><div><dt>Left</dt><dd>{}</dd></div><div><dt>Used today</dt><dd>{}</dd></div>\
         <div><dt>An hour awake</dt><dd>{}</dd></div><div><dt>A day asleep</dt><dd>{}</dd></div></dl>\n\
         <p>It sleeps when nobody uses it, and then costs almost nothing. Every charge comes with a signed receipt that this pal checks. \
         One cpm is one minute awake.</p>\n",
        amount(credit.left_milli),
        amount(credit.today_milli),
        amount(credit.hour_awake_milli),
        amount(credit.day_asleep_milli),
    );
    section("credit", "What it costs", &body)
}

fn waking(status: &Status) -> String {
    let why = match status.woke {
        None => "It has not slept since it was started.",
        Some(WakeReason::Packet) => "A packet from one of your devices woke it.",
        Some(WakeReason::Owner) => "You woke it through its data centre.",
        Some(WakeReason::Credit) => "It woke to pay for its sleep.",
        Some(WakeReason::Operator) => "Its data centre woke it.",
    };
    section("waking", "Why it is awake", &format!("<p>{why}</p>\n"))
}

const PRIVACY: &str = "<section aria-labelledby=\"privacy\"><h2 id=\"privacy\">What the data centre can see</h2>\n\
<ul><li><strong>It sees</strong> that this pal exists, when it is awake, how much traffic it has and with which addresses, \
and what your devices ask of the internet through it, as any internet provider would.</li>\
<li><strong>It does not see</strong> who you are, what travels between your devices and this pal, or your files: \
they are encrypted with a key that it never gets. Before the pal sleeps, the key and everything readable are wiped.</li>\
<li><strong>Be aware:</strong> while data is unlocked, a dishonest data centre that takes apart the running machine could read it. \
It could also pose as this pal's network end, which reveals no stored data.</li></ul></section>\n";

fn amount(milli: Milli) -> String {
    escape(&milli.to_string())
}

/// A span of time in its largest unit.
fn span(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            name: "<script>".into(),
            pal: "0".repeat(32),
            data: DataState::Locked,
            woke: Some(WakeReason::Packet),
            generation: 3,
            roster_version: 1,
            overlay_v4: "100.64.0.1".parse().unwrap(),
            overlay_v6: "fd00::1".parse().unwrap(),
            devices: vec![Device {
                name: "a&b".into(),
                v4: "100.64.0.2".parse().unwrap(),
                v6: "fd00::2".parse().unwrap(),
                connected: false,
                seen_unix_s: Some(1000),
            }],
            credit: Credit {
                held_milli: Milli(1000),
                paid_milli: Milli(0),
                used_milli: Milli(0),
                today_milli: Milli(5),
                left_milli: Milli(1000),
                hour_awake_milli: Milli(60_000),
                day_asleep_milli: Milli(7200),
                runs_out_unix_ms: Some(4_600_000),
                kept_until_unix_ms: Some(90_000_000),
            },
            now_unix_ms: 1_090_000,
        }
    }

    #[test]
    fn says_how_things_are_in_plain_words() {
        let page = render(&status(), "n");
        for part in [
            "Locked.",
            "cloudpal unlock",
            "1 minute ago",
            "A packet from one of your devices",
            "Credit runs out in 58 minutes",
            "7.200 cpm",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(render(&Status { data: DataState::Unlocked, ..status() }, "n").contains("Unlocked."));
    }

    #[test]
    fn no_name_becomes_markup_and_nothing_comes_from_elsewhere() {
        let page = render(&status(), "n");
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;") && page.contains("a&amp;b"));
        for foreign in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }
}
