//! What the person sees and types. Results go to standard output, progress and questions to standard error.

use crate::failure::{Exit, Failure};
use crate::printable::{self, Tame};
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};
use std::io::{self, BufRead, BufWriter, IsTerminal, Read, Write};
use zeroize::Zeroizing;

/// Where a command says what it is doing, before it does it.
pub trait Progress {
    /// One step begins.
    fn step(&self, what: &str);
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// What a command found or did.
#[derive(Clone, Debug)]
pub struct Report {
    /// For people.
    pub text: String,
    /// For programs.
    pub json: serde_json::Value,
    /// Lines of our own that stand above the text and are printed as they are, colours included.
    pub drawing: String,
}

impl Report {
    /// Both forms of one result.
    pub fn new(text: impl Into<String>, json: serde_json::Value) -> Self {
        Report { text: text.into(), json, drawing: String::new() }
    }

    /// With a drawing above the text.
    #[must_use]
    pub fn below(mut self, drawing: String) -> Self {
        self.drawing = drawing;
        self
    }
}

/// The real terminal, or whatever stands in its place.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    format: Format,
}

impl Terminal {
    /// Prints results in `format`.
    pub fn new(format: Format) -> Self {
        Terminal { format }
    }

    /// How results are printed.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Prints a result.
    pub fn print(&self, report: &Report) -> Result<(), Failure> {
        let text = match self.format {
            Format::Text => {
                io::stdout().lock().write_all(report.drawing.as_bytes()).map_err(unprinted)?;
                &report.text
            }
            Format::Json => &printable::json(&report.json),
        };
        self.line(text)
    }

    /// Prints text, with a line end.
    pub fn line(&self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        let text = printable::lines(text.trim_end_matches('\n'));
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(unprinted)
    }

    /// Where contents go: as they are into a file or program, tame on a terminal.
    pub fn contents(&self) -> Box<dyn Write> {
        let out = io::stdout();
        match out.is_terminal() {
            true => Box::new(Tame::new(out)),
            false => Box::new(BufWriter::new(out)),
        }
    }

    /// Says what is waited for, if standard input is a terminal.
    pub fn awaits(&self, what: &str) {
        if io::stdin().is_terminal() {
            eprintln!("Type {what}; Ctrl-D ends it.");
        }
    }

    /// Says on standard error what went wrong with a part while the rest went on.
    pub fn warn(&self, what: &str) {
        eprintln!("cloudpal: {}", printable::lines(what));
    }

    /// Reads one secret line from standard input; asks for it, and does not echo it, on a terminal.
    pub fn secret_line(&self, question: &str) -> Result<Zeroizing<String>, Failure> {
        let _quiet = Quiet::ask(question);
        let mut line = Zeroizing::new(String::with_capacity(512));
        io::stdin().lock().take(4096).read_line(&mut line).map_err(no_input)?;
        Ok(Zeroizing::new(line.trim().to_owned()))
    }

    /// Reads secret words from standard input: all of it, or on a terminal until there are `count`.
    pub fn secret_words(&self, question: &str, count: usize) -> Result<Zeroizing<String>, Failure> {
        let mut words = Zeroizing::new(String::with_capacity(4096));
        if !io::stdin().is_terminal() {
            io::stdin().lock().take(4096).read_to_string(&mut words).map_err(no_input)?;
            return Ok(words);
        }
        let _quiet = Quiet::ask(question);
        while words.split_whitespace().count() < count {
            if io::stdin().lock().take(4096).read_line(&mut words).map_err(no_input)? == 0 {
                break;
            }
        }
        Ok(words)
    }

    /// Whether the person types `word` when asked; never on anything but a terminal.
    pub fn confirms(&self, question: &str, word: &str) -> Result<bool, Failure> {
        if !io::stdin().is_terminal() {
            return Ok(false);
        }
        eprint!("{} ", printable::lines(question));
        let mut line = String::new();
        io::stdin().lock().take(1024).read_line(&mut line).map_err(no_input)?;
        Ok(line.trim() == word)
    }
}

impl Progress for Terminal {
    fn step(&self, what: &str) {
        let colour =
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|off| off.is_empty());
        let (on, off) = if colour { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        eprintln!("{on}{} ...{off}", printable::lines(what));
    }
}

/// Without echo until dropped, when standard input is a terminal.
struct Quiet(Option<Termios>);

impl Quiet {
    fn ask(question: &str) -> Self {
        if !io::stdin().is_terminal() {
            return Quiet(None);
        }
        eprint!("{question} ");
        let before = termios::tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut quiet = before.clone();
            quiet.local_flags.remove(LocalFlags::ECHO);
            // If this fails the person sees what they type, which is worse but not wrong.
            termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &quiet).ok();
        }
        Quiet(before)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            termios::tcsetattr(io::stdin(), SetArg::TCSANOW, before).ok();
            eprintln!();
        }
    }
}

fn unprinted(source: io::Error) -> Failure {
    Failure::because(Exit::Failed, "printing the result failed", source)
}

fn no_input(source: io::Error) -> Failure {
    Failure::because(Exit::Usage, "standard input could not be read", source)
}
