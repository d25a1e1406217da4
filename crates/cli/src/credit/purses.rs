//! The real purses.

use super::{Balance, Credit, CreditError, LockWish, Locked};
use crate::person::Person;
use cloudpal_protocol::TicketText;
use zeroize::Zeroizing;

/// Purses, one for each seller.
pub struct Purses<'a>(&'a Person);

impl<'a> Purses<'a> {
    /// The purses of a person.
    pub fn of(person: &'a Person) -> Self {
        Purses(person)
    }
    fn no<T>(&self) -> Result<T, CreditError> {
        Err(CreditError::Refused(format!("no purse in {}", self.0.dir().display()), None))
    }
}

impl Credit for Purses<'_> {
    fn buy(&self, _: &str, _: &Zeroizing<String>) -> Result<u64, CreditError> {
        self.no()
    }
    fn balances(&self) -> Result<Vec<Balance>, CreditError> {
        Ok(Vec::new())
    }
    fn lock(&self, _: &LockWish<'_>) -> Result<Locked, CreditError> {
        self.no()
    }
    fn pending(&self, _: &str, _: &str) -> Result<Option<Locked>, CreditError> {
        Ok(None)
    }
    fn handed_over(&self, _: &Locked) -> Result<(), CreditError> {
        self.no()
    }
    fn take_back(&self, _: &str, _: &[TicketText], _: &[String]) -> Result<u64, CreditError> {
        self.no()
    }
    fn reclaim(&self, _: &str, _: &str) -> Result<u64, CreditError> {
        self.no()
    }
    fn recover(&self, _: &str) -> Result<u64, CreditError> {
        self.no()
    }
}
