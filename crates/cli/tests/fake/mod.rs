//! A seller, a host and a pal that live in the test, and a fuse that cuts the power at every step.
#![allow(dead_code)]

mod credit;
mod fuse;
mod host;
mod pal;

pub use credit::FakeCredit;
// Each test file uses its part.
#[allow(unused_imports)]
pub use fuse::{End, Fuse};
pub use host::FakeHost;

use cloudpal_cli::app::App;
use cloudpal_cli::person::Person;
use cloudpal_cli::terminal::Progress;
use cloudpal_core::{Secret, SeedPhrase};
use std::sync::Arc;
use tempfile::TempDir;

pub const MINT: &str = "http://mint.test:3338";

/// A person with keys, credit and a host to go to.
pub struct World {
    pub fuse: Arc<Fuse>,
    pub host: FakeHost,
    pub credit: FakeCredit,
    pub person: Person,
    _dir: TempDir,
}

impl World {
    pub fn with_credit(cpm: u64) -> Self {
        let fuse = Arc::new(Fuse::default());
        let dir = tempfile::tempdir().unwrap();
        let person = Person::at(dir.path().join("config"));
        let locked = person.lock().unwrap();
        let phrase = SeedPhrase::from_entropy(&Secret::new([7; 32]));
        person.set_up(&phrase, || Ok::<_, cloudpal_cli::person::PersonError>(())).unwrap();
        drop(locked);
        let credit = FakeCredit::with(cpm, fuse.clone());
        World { host: FakeHost::start(fuse.clone()), fuse, credit, person, _dir: dir }
    }

    pub fn app(&self) -> App<'_> {
        App { person: &self.person, credit: &self.credit, progress: &*self.fuse }
    }
}

impl Progress for Fuse {
    fn step(&self, _: &str) {
        self.burn();
    }
}
