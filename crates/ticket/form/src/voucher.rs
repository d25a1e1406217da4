//! The code on a voucher: worth, 128 secret bits and a checksum, typed by hand.

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The most that one voucher can be worth, in whole cpm.
pub const MAX_VOUCHER_AMOUNT: u64 = 10_000_000;

// Crockford's alphabet: no I, L, O or U, so a misread letter is a misprint and not another code.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const SECRET_CHARS: usize = 26;
const CHECK_CHARS: usize = 4;

/// A voucher, worth `amount` cpm once. Its secret is money: redacted in Debug, zeroed on drop.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Voucher {
    amount: u64,
    secret: [u8; 16],
}

/// Why a text is not a voucher code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VoucherFormError {
    /// It lacks the leading `CPM`, the amount, or has too few or too many characters.
    #[error("this is not a voucher code: one looks like CPM500-ABCDE-FGHJK-...; copy it whole")]
    Shape,
    /// The worth is zero or beyond [`MAX_VOUCHER_AMOUNT`].
    #[error("a voucher is worth between 1 and {MAX_VOUCHER_AMOUNT} cpm")]
    Amount,
    /// A character or the amount was mistyped.
    #[error("the voucher code has a typing mistake in it: compare it with the printed one")]
    Checksum,
}

impl Voucher {
    /// A voucher worth `amount` cpm with `secret` from the operating system's randomness.
    pub fn new(amount: u64, secret: [u8; 16]) -> Result<Self, VoucherFormError> {
        match amount {
            1..=MAX_VOUCHER_AMOUNT => Ok(Self { amount, secret }),
            _ => Err(VoucherFormError::Amount),
        }
    }

    /// Reads a typed code; case, spaces and hyphens do not matter, nor O for 0 or I and L for 1.
    pub fn parse(typed: &str) -> Result<Self, VoucherFormError> {
        if typed.len() > 128 || !typed.is_ascii() {
            return Err(VoucherFormError::Shape);
        }
        let (head, tail) = typed.trim().split_once('-').ok_or(VoucherFormError::Shape)?;
        let head = head.trim().to_ascii_uppercase();
        let digits = head.strip_prefix("CPM").ok_or(VoucherFormError::Shape)?;
        if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(VoucherFormError::Shape);
        }
        let amount: u64 = digits.parse().map_err(|_| VoucherFormError::Amount)?;

        let mut values = Vec::with_capacity(SECRET_CHARS + CHECK_CHARS);
        for letter in tail.bytes().filter(|b| !matches!(b, b'-' | b' ')) {
            values.push(value_of(letter).ok_or(VoucherFormError::Checksum)?);
        }
        if values.len() != SECRET_CHARS + CHECK_CHARS {
            return Err(VoucherFormError::Shape);
        }
        let secret = bytes_of(&values[..SECRET_CHARS]).ok_or(VoucherFormError::Checksum)?;
        let voucher = Self::new(amount, secret)?;
        if voucher.check() != values[SECRET_CHARS..] {
            return Err(VoucherFormError::Checksum);
        }
        Ok(voucher)
    }

    /// What it is worth, in whole cpm.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// The code as printed. Named so that showing a secret is a decision.
    pub fn reveal(&self) -> String {
        let mut letters: Vec<u8> = Vec::with_capacity(SECRET_CHARS + CHECK_CHARS);
        let wide = u128::from_be_bytes(self.secret);
        for place in 0..SECRET_CHARS {
            let shift = 5 * (SECRET_CHARS - 1 - place);
            letters.push(ALPHABET[((wide >> shift) & 31) as usize]);
        }
        letters.extend(self.check().iter().map(|value| ALPHABET[usize::from(*value)]));
        let mut code = format!("CPM{}", self.amount);
        for (place, letter) in letters.iter().enumerate() {
            if place % 5 == 0 {
                code.push('-');
            }
            code.push(char::from(*letter));
        }
        code
    }

    /// What the mint stores instead of the code. The secret has 128 bits, so a plain hash will do.
    pub fn hash(&self) -> [u8; 32] {
        self.digest(b"cloudpal voucher v1 hash")
    }

    fn check(&self) -> [u8; CHECK_CHARS] {
        let digest = self.digest(b"cloudpal voucher v1 check");
        [digest[0] & 31, digest[1] & 31, digest[2] & 31, digest[3] & 31]
    }

    fn digest(&self, label: &[u8]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(label);
        hasher.update(self.amount.to_be_bytes());
        hasher.update(self.secret);
        hasher.finalize().into()
    }
}

impl std::fmt::Debug for Voucher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Voucher({} cpm, [redacted])", self.amount)
    }
}

fn value_of(letter: u8) -> Option<u8> {
    let letter = match letter.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    ALPHABET.iter().position(|known| *known == letter).map(|place| place as u8)
}

fn bytes_of(values: &[u8]) -> Option<[u8; 16]> {
    // 26 letters hold 130 bits; the two on top must be zero, or two codes would mean one secret.
    if *values.first()? > 7 {
        return None;
    }
    Some(values.iter().fold(0u128, |wide, value| (wide << 5) | u128::from(*value)).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_single_mistyped_letter_is_noticed_almost_always() {
        let code = Voucher::new(500, [0xa5; 16]).unwrap().reveal();
        let (mut tried, mut missed) = (0, 0);
        for place in code.find('-').unwrap()..code.len() {
            for letter in ALPHABET {
                let mut wrong = code.clone().into_bytes();
                if wrong[place] == b'-' || wrong[place] == *letter {
                    continue;
                }
                wrong[place] = *letter;
                tried += 1;
                missed += usize::from(Voucher::parse(std::str::from_utf8(&wrong).unwrap()).is_ok());
            }
        }
        assert!(tried > 900 && missed == 0, "{missed} of {tried}");
    }

    #[test]
    fn the_worth_cannot_be_altered() {
        let code = Voucher::new(500, [1; 16]).unwrap().reveal();
        let raised = code.replacen("500", "900", 1);
        assert_eq!(Voucher::parse(&raised), Err(VoucherFormError::Checksum));
    }

    #[test]
    fn garbage_is_refused_without_panic() {
        for text in ["", "-", "CPM", "CPM-", "CPM0-", "CPM5-É", "CPM99999999999-AAAAA", "CPM5-00000-00000"] {
            assert!(Voucher::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        assert_eq!(format!("{:?}", Voucher::new(5, [1; 16]).unwrap()), "Voucher(5 cpm, [redacted])");
    }
}
