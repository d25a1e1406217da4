//! `cloudpal db token`: who may use a database that is served. The store of a folder is not opened, as it is while it serves.

use super::args::{Add, TokenCommand, Tokens};
use crate::command::data::Desk;
use crate::failure::{Exit, Failure};
use crate::local;
use crate::local::failure::failed;
use crate::person::PersonError;
use crate::printable::word;
use crate::remote::databases::RemoteBase;
use crate::terminal::Report;
use crate::told::text;
use cloudpal_serve::owner::{self, TokenWish};
use cloudpal_serve::token::Book;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY: u64 = 24 * 60 * 60;

pub fn run(desk: Desk<'_>, command: TokenCommand) -> Result<(), Failure> {
    let report = match command {
        TokenCommand::Add(wish) => add(desk, wish)?,
        TokenCommand::List(tokens) => {
            let all = match open(desk, &tokens)? {
                Case::Folder(book) => owner::tokens(&book).map_err(failed)?,
                Case::Pal(base) => base.tokens()?,
            };
            let lines: Vec<_> = all["tokens"].as_array().into_iter().flatten().map(line).collect();
            Report::new(lines.join("\n"), all)
        }
        TokenCommand::Revoke { id, tokens } => {
            let gone = match open(desk, &tokens)? {
                Case::Folder(book) => owner::revoke_token(&book, &id).map_err(failed)?,
                Case::Pal(base) => base.revoke_token(&id)?,
            };
            Report::new(format!("revoked: {}", line(&gone["revoked"])), gone)
        }
    };
    desk.terminal.print(&report)
}

fn add(desk: Desk<'_>, wanted: Add) -> Result<Report, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let wish = TokenWish {
        label: wanted.label,
        read: wanted.read,
        write: wanted.write,
        expires: wanted.days.map(|days| now + u64::from(days) * DAY),
    };
    let made = match open(desk, &wanted.tokens)? {
        Case::Folder(book) => {
            let mut random = [0; 40];
            getrandom::fill(&mut random).map_err(PersonError::Random)?;
            owner::add_token(&book, &wish, random).map_err(failed)?
        }
        Case::Pal(base) => base.add_token(&wish)?,
    };
    Ok(Report::new(text(&made, "token").to_owned(), made))
}

/// Where tokens are kept.
enum Case {
    Folder(Book),
    Pal(RemoteBase),
}

fn open(desk: Desk<'_>, tokens: &Tokens) -> Result<Case, Failure> {
    match &tokens.at.store {
        Some(dir) if local::has_store(dir) => Ok(Case::Folder(Book::beside(dir, &tokens.name))),
        Some(dir) => {
            let message = format!("there is no data in {} yet; is it the right folder?", dir.display());
            Err(Failure::new(Exit::NotFound, message))
        }
        None => Ok(Case::Pal(RemoteBase::new(desk.pal(&tokens.at)?, &tokens.name))),
    }
}

/// One line for people.
fn line(token: &Value) -> String {
    let scope = |scope: &Value| {
        let right = if scope["right"] == "write" { "writes" } else { "reads" };
        match text(scope, "path") {
            "" => format!("{right} everything"),
            path => format!("{right} {}", word(path)),
        }
    };
    let scopes: Vec<_> = token["scopes"].as_array().into_iter().flatten().map(scope).collect();
    let until = token["expires"]
        .as_u64()
        .map_or_else(String::new, |expires| format!(", until {expires} (seconds since 1970)"));
    format!("{}  {}: {}{until}", text(token, "id"), word(text(token, "label")), scopes.join(", "))
}
