//! Rules about the text of sources.

use super::verdict;
use crate::run::{command, output};
use crate::tree;
use anyhow::{Context as _, Result};
use std::fs;

/// No file is longer.
const MAX_LINES: usize = 800;

/// Crates without IO: time, randomness and bytes come in as arguments.
const PURE: [&str; 8] = [
    "crates/core/",
    "crates/protocol/",
    "crates/network/plan/",
    "crates/compute/meter/",
    "crates/data/log/",
    "crates/data/sorted/",
    "crates/data/db/",
    "crates/data/simulator/",
];

/// What a crate without IO never names.
const IO: [&str; 15] = [
    "tokio::",
    "std::fs",
    "std::process",
    "std::thread",
    "std::env",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "SystemTime",
    "Instant::now",
    "thread_rng",
    "OsRng",
    "getrandom",
    "rand::",
];

/// Put together so that this file does not find itself.
const UNSAFE_WORD: &str = concat!("un", "safe");

/// Crates that may have it in them.
const UNSAFE: [&str; 3] = ["crates/network/link/", "crates/compute/machine/", "crates/guest/"];

/// Checks every Rust source that git knows or would add.
pub fn check() -> Result<()> {
    let listed =
        output(command("git ls-files --cached --others --exclude-standard *.rs").current_dir(tree::root()))?;
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in listed.lines() {
        // A file that was deleted and not yet committed is listed too.
        let Ok(text) = fs::read_to_string(tree::root().join(path)) else { continue };
        seen += 1;
        wrong.extend(judge(path, &text));
    }
    let lock = fs::read_to_string(tree::root().join("Cargo.lock")).context("Cargo.lock")?;
    let git = lock.lines().filter(|line| line.starts_with("source = \"git+"));
    wrong.extend(git.map(|line| format!("Cargo.lock: {line}: depend on a published version instead")));
    if seen == 0 {
        wrong.push("no sources found: is this a git checkout?".into());
    }
    verdict(wrong)
}

fn judge(path: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        wrong.push(format!("{path}: {lines} lines; split it below {MAX_LINES}"));
    }
    let crate_page = path.ends_with("src/main.rs") || path.ends_with("src/lib.rs");
    if crate_page && !text.starts_with("//!") {
        wrong.push(format!("{path}: start with a page (`//!`) that says what the crate is"));
    }
    let unsafe_here = UNSAFE.iter().any(|allowed| path.starts_with(allowed));
    let pure = PURE.iter().any(|pure| path.starts_with(pure)) && path.contains("/src/");
    for (number, line) in text.lines().enumerate() {
        let mut say = |what: String| wrong.push(format!("{path}:{}: {what}", number + 1));
        if let Some(word) = banned(line) {
            say(format!("{word}: open an issue instead"));
        }
        let code = line.split("//").next().unwrap_or_default();
        if !unsafe_here && has_word(code, UNSAFE_WORD) {
            say(format!("{UNSAFE_WORD} belongs into link, machine or guest"));
        }
        if let Some(io) = pure.then(|| IO.iter().find(|io| code.contains(**io))).flatten() {
            say(format!("{io} in a crate without IO: let the caller pass it in"));
        }
    }
    wrong
}

/// Marks of unfinished work, put together for the same reason.
fn banned(line: &str) -> Option<String> {
    [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]]
        .iter()
        .map(|halves| halves.concat())
        .find(|word| has_word(line, word))
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_bites_and_only_where_it_applies() {
        let long = "//! x\n".repeat(MAX_LINES + 1);
        assert_eq!(judge("crates/a/src/lib.rs", &long).len(), 1);
        assert_eq!(judge("crates/a/src/lib.rs", "fn main() {}").len(), 1);
        assert_eq!(judge("crates/a/src/other.rs", "fn main() {}").len(), 0);
        let unchecked = format!("let x = {UNSAFE_WORD} {{ y() }};");
        assert_eq!(judge("crates/pal/src/x.rs", &unchecked).len(), 1);
        assert_eq!(judge("crates/guest/src/x.rs", &unchecked).len(), 0);
        assert_eq!(judge("crates/core/src/x.rs", "let now = SystemTime::now();").len(), 1);
        assert_eq!(judge("crates/core/tests/x.rs", "let now = SystemTime::now();").len(), 0);
        assert_eq!(judge("crates/core/src/x.rs", "// unlike SystemTime, this is passed in").len(), 0);
        let word = ["TO", "DO"].concat();
        assert_eq!(judge("crates/core/src/x.rs", &format!("// {word}: later")).len(), 1);
    }
}
