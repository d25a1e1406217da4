//! Credit is counted in thousandths of a compute-minute (`cpm`), so that a minute asleep, which costs
//! a few thousandths, can be added up exactly; only whole cpm exist as tickets.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

/// An amount of credit in thousandths of one `cpm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Milli(pub u64);

impl Milli {
    /// No credit.
    pub const ZERO: Milli = Milli(0);

    /// `cpm` whole tickets' worth; saturates at the greatest amount that can be counted.
    pub const fn from_cpm(cpm: u64) -> Self {
        Milli(cpm.saturating_mul(1000))
    }

    /// The least number of whole cpm that covers this amount.
    pub const fn ceil_cpm(self) -> u64 {
        self.0.div_ceil(1000)
    }

    /// Whole cpm in this amount, the rest dropped.
    pub const fn floor_cpm(self) -> u64 {
        self.0 / 1000
    }

    /// Difference that stops at zero.
    pub const fn saturating_sub(self, other: Milli) -> Milli {
        Milli(self.0.saturating_sub(other.0))
    }
}

impl Add for Milli {
    type Output = Milli;
    fn add(self, other: Milli) -> Milli {
        Milli(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Milli {
    fn add_assign(&mut self, other: Milli) {
        *self = *self + other;
    }
}

impl Sub for Milli {
    type Output = Milli;
    /// Stops at zero: credit is never negative.
    fn sub(self, other: Milli) -> Milli {
        self.saturating_sub(other)
    }
}

impl std::iter::Sum for Milli {
    fn sum<I: Iterator<Item = Milli>>(amounts: I) -> Milli {
        amounts.fold(Milli::ZERO, Add::add)
    }
}

impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1000 {
            0 => write!(f, "{} cpm", self.0 / 1000),
            rest => write!(f, "{}.{rest:03} cpm", self.0 / 1000),
        }
    }
}

/// Text that is not an amount of credit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("\"{0}\" is not an amount of credit; write a whole number of cpm, such as 120")]
pub struct ParseMilliError(String);

impl FromStr for Milli {
    type Err = ParseMilliError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let cpm = text.trim().parse::<u64>().map_err(|_| ParseMilliError(text.to_owned()))?;
        cpm.checked_mul(1000).map(Milli).ok_or_else(|| ParseMilliError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_thousandths_only_when_there_are_some() {
        assert_eq!(Milli::from_cpm(3).to_string(), "3 cpm");
        assert_eq!(Milli(3005).to_string(), "3.005 cpm");
    }

    #[test]
    fn rounds_to_whole_tickets_in_the_stated_direction() {
        assert_eq!(Milli(1001).ceil_cpm(), 2);
        assert_eq!(Milli(1999).floor_cpm(), 1);
        assert_eq!(Milli::ZERO.ceil_cpm(), 0);
    }

    #[test]
    fn refuses_what_is_not_a_number_or_too_great() {
        assert!("-1".parse::<Milli>().is_err());
        assert!("twelve".parse::<Milli>().is_err());
        assert!(u64::MAX.to_string().parse::<Milli>().is_err());
        assert_eq!(Milli(5) - Milli(7), Milli::ZERO);
    }
}
