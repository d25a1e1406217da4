//! `cloudpal init`: the keys everything else derives from.

use crate::app::App;
use crate::failure::Failure;
use crate::person::{self, PersonError};
use crate::terminal::{Format, Report, Terminal};
use cloudpal_core::{Secret, SeedPhrase};
use serde_json::json;
use zeroize::Zeroizing;

/// Makes a new seed phrase. With text output the words are shown once; with JSON they are written into a
/// file, because output of programs ends up in logs.
pub fn make(app: App<'_>, terminal: &Terminal) -> Result<Report, Failure> {
    let _locked = app.person.lock()?;
    let phrase = SeedPhrase::from_entropy(&Secret::new(person::random()?));
    let kit = app.person.dir().join("recovery-kit.txt");
    let block = block_of(&phrase);
    app.person.set_up(&phrase, || match terminal.format() {
        Format::Text => terminal.line(&block),
        Format::Json => {
            let text = Zeroizing::new(format!("CloudPal recovery kit\n\n{}\n{ADVICE}\n", *block));
            Ok(person::write_private(&kit, text.as_bytes()).map_err(PersonError::from)?)
        }
    })?;
    let device = app.person.device_key()?.public();
    let json = json!({
        "device": device,
        "words_file": kit,
        "advice": "print the words file, keep the paper safe, and delete the file",
    });
    Ok(Report::new(format!("{ADVICE}\nThis device's key: {device}"), json))
}

const ADVICE: &str = "\
Write these 24 words on paper, in order, and keep it where nobody else looks. They are not shown again.
Whoever has them has your pals, your data and your credit; without them a lost device is a loss for good.";

/// Takes the words of a recovery kit.
pub fn restore(app: App<'_>, terminal: &Terminal) -> Result<Report, Failure> {
    let _locked = app.person.lock()?;
    if app.person.is_set_up() {
        return Err(PersonError::SeedExists(app.person.dir().to_owned()).into());
    }
    let words = terminal.secret_words("The 24 words of your recovery kit (not shown):", 24)?;
    let phrase = SeedPhrase::parse(&words).map_err(PersonError::from)?;
    app.person.set_up(&phrase, || Ok::<(), Failure>(()))?;
    let device = app.person.device_key()?.public();
    let text = format!(
        "Your keys are here again. This device's key: {device}\n\
         Credit: `cloudpal credit recover --mint URL` finds what the seller still has of yours."
    );
    Ok(Report::new(text, json!({ "device": device, "restored": true })))
}

fn block_of(phrase: &SeedPhrase) -> Zeroizing<String> {
    let words = phrase.words();
    let mut block = Zeroizing::new(String::with_capacity(1024));
    for (at, word) in words.split(' ').enumerate() {
        block.push_str(&format!("{:>4}. ", at + 1));
        block.push_str(word);
        match at % 4 {
            3 => block.push('\n'),
            _ => (word.len()..9).for_each(|_| block.push(' ')),
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_holds_all_words_in_order_and_never_grew() {
        let phrase = SeedPhrase::from_entropy(&Secret::new([9; 32]));
        let block = block_of(&phrase);
        let words: Vec<_> =
            block.split_whitespace().filter(|part| !part.ends_with('.')).map(str::to_owned).collect();
        assert_eq!(words.join(" "), *phrase.words());
        assert!(block.contains("  24. "));
        assert_eq!(block.lines().count(), 6);
        assert_eq!(block.capacity(), 1024);
    }
}
