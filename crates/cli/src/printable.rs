//! Text that others wrote, such as paths, keys and messages of peers, on a person's terminal: what would move the cursor, change
//! colours or turn the direction of writing stands as an escape.

use serde_json::Value;
use std::borrow::Cow;
use std::io::{self, Write};

/// Whether a character does something else than to appear.
fn acts(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

fn escaped(text: &str, acts: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&acts) {
        return text.into();
    }
    let escape = |c: char| if acts(c) { c.escape_default().to_string() } else { c.into() };
    text.chars().map(escape).collect::<String>().into()
}

/// A name, path, key or value: stays on its line, whatever it holds.
pub fn word(text: &str) -> Cow<'_, str> {
    escaped(text, acts)
}

/// Text of several lines.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| acts(c) && !matches!(c, '\n' | '\t'))
}

/// JSON of the same meaning. It holds such characters in strings only, where an escape means the same.
pub fn json(value: &Value) -> String {
    let text = value.to_string();
    match text.chars().any(acts) {
        false => text,
        true => text
            .chars()
            .map(|c| if acts(c) { format!("\\u{:04x}", u32::from(c)) } else { c.into() })
            .collect(),
    }
}

/// A terminal that contents are written to: they appear, and do nothing.
pub struct Tame<W: Write> {
    terminal: W,
    /// The beginning of a character whose end comes with the next write.
    begun: Vec<u8>,
}

impl<W: Write> Tame<W> {
    /// Over a terminal.
    pub fn new(terminal: W) -> Self {
        Tame { terminal, begun: Vec::new() }
    }
}

impl<W: Write> Write for Tame<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = std::mem::take(&mut self.begun);
        held.extend_from_slice(bytes);
        let mut left = held.len();
        for chunk in held.utf8_chunks() {
            self.terminal.write_all(lines(chunk.valid()).as_bytes())?;
            left -= chunk.valid().len() + chunk.invalid().len();
            match left == 0 && may_go_on(chunk.invalid()) {
                true => self.begun = chunk.invalid().to_vec(),
                false => write!(self.terminal, "{}", chunk.invalid().escape_ascii())?,
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        write!(self.terminal, "{}", std::mem::take(&mut self.begun).escape_ascii())?;
        self.terminal.flush()
    }
}

/// Whether bytes that are no text may become a character with those that follow.
fn may_go_on(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_acts_is_escaped_and_all_else_stays() {
        assert_eq!(word("a b/\u{fc}\u{1f30a}\\"), "a b/\u{fc}\u{1f30a}\\");
        assert_eq!(word("\x1b[2J\n\t\u{9b}m\u{202e}gpj"), r"\u{1b}[2J\n\t\u{9b}m\u{202e}gpj");
        assert_eq!(lines("a\tb\n\x07\r"), "a\tb\n\\u{7}\\r");
    }

    #[test]
    fn json_means_the_same() {
        let value = json!({ "\u{7f}": "\x1b[0m \u{9b} \u{202e} \u{fc}" });
        let text = json(&value);
        assert!(!text.chars().any(acts), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn contents_are_tame_however_they_are_cut() {
        let content = "\u{fc}\x1b]0;owned\x07\n\u{9b}\u{1f30a}".as_bytes();
        for size in 1..content.len() {
            let mut seen = Vec::new();
            let mut terminal = Tame::new(&mut seen);
            for part in content.chunks(size) {
                terminal.write_all(part).unwrap();
            }
            terminal.write_all(&[0xff, 0xf0, 0x9f]).unwrap();
            terminal.flush().unwrap();
            let expected = "\u{fc}\\u{1b}]0;owned\\u{7}\n\\u{9b}\u{1f30a}\\xff\\xf0\\x9f";
            assert_eq!(String::from_utf8(seen).unwrap(), expected, "in parts of {size} bytes");
        }
    }
}
