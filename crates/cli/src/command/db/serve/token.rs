//! `cloudpal db token`: who may use a database that is served. The store itself is not opened, as it is while it serves.

use super::args::{Add, TokenCommand, Tokens};
use super::book;
use crate::command::data::Desk;
use crate::failure::{Exit, Failure};
use crate::local;
use crate::person::PersonError;
use crate::terminal::Report;
use cloudpal_serve::token::{Book, BookError, Record, Right, Scope};
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY: u64 = 24 * 60 * 60;

pub fn run(desk: Desk<'_>, command: TokenCommand) -> Result<(), Failure> {
    let report = match command {
        TokenCommand::Add(wish) => add(&wish)?,
        TokenCommand::List(tokens) => list(&open(&tokens)?)?,
        TokenCommand::Revoke { id, tokens } => {
            let gone = open(&tokens)?.revoke(&id).map_err(failed)?;
            Report::new(format!("revoked: {}", line(&gone)), json!({ "revoked": told(&gone) }))
        }
    };
    desk.terminal.print(&report)
}

fn add(wish: &Add) -> Result<Report, Failure> {
    let scope = |right| move |path: &String| Scope { path: path.clone(), kind: None, right };
    let scopes = wish.read.iter().map(scope(Right::Read)).chain(wish.write.iter().map(scope(Right::Write)));
    let mut random = [0; 40];
    getrandom::fill(&mut random).map_err(PersonError::Random)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let expires = wish.days.map(|days| now + u64::from(days) * DAY);
    let token = open(&wish.tokens)?.add(&wish.label, scopes.collect(), expires, random).map_err(failed)?;
    let token = token.reveal();
    Ok(Report::new(token.clone(), json!({ "token": token })))
}

fn list(book: &Book) -> Result<Report, Failure> {
    let records = book.list().map_err(failed)?;
    let lines: Vec<_> = records.iter().map(line).collect();
    Ok(Report::new(lines.join("\n"), json!({ "tokens": records.iter().map(told).collect::<Vec<_>>() })))
}

fn open(tokens: &Tokens) -> Result<Book, Failure> {
    if local::has_store(&tokens.store) {
        return Ok(book(&tokens.store, &tokens.name));
    }
    let message = format!("there is no data in {} yet; is it the right folder?", tokens.store.display());
    Err(Failure::new(Exit::NotFound, message))
}

/// One line for people.
fn line(record: &Record) -> String {
    let scope = |scope: &Scope| {
        let right = if scope.right == Right::Write { "writes" } else { "reads" };
        let path = if scope.path.is_empty() { "everything" } else { &scope.path };
        format!("{right} {path}")
    };
    let scopes: Vec<_> = record.scopes.iter().map(scope).collect();
    let until =
        record.expires.map_or_else(String::new, |expires| format!(", until {expires} (seconds since 1970)"));
    format!("{}  {}: {}{until}", record.id, record.label, scopes.join(", "))
}

/// Without the hash, which is nobody's business.
fn told(record: &Record) -> serde_json::Value {
    json!({ "id": record.id, "label": record.label, "scopes": record.scopes, "expires": record.expires })
}

fn failed(error: BookError) -> Failure {
    let exit = match error {
        BookError::Unknown(_) => Exit::NotFound,
        BookError::Kind(_) => Exit::Usage,
        BookError::Full | BookError::Io { .. } | BookError::Format { .. } => Exit::Failed,
    };
    Failure::lift(exit, error)
}
