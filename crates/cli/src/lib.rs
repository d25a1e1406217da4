//! # The person's program
//!
//! `cloudpal` holds the keys and the credit of one person, and speaks for them: to a ticket seller, to
//! the hosts their pals live at, and, through a channel that the host only relays, to the pals themselves.
//!
//! - [`person`]: the folder of keys and records; every write survives a kill.
//! - [`credit`]: what is needed of a purse.
//! - [`host`] and [`session`]: asking the host, and asking the pal through it.
//! - [`command`]: one module for each thing a person can ask for.
//! - [`local`]: data in a folder of this machine, for those who have no pal.
//! - [`terminal`] and [`printable`]: what the person sees; text of others cannot act on a terminal.
//! - [`told`]: what a person reads of logs, maps and drives.
//! - [`remote`]: the data of a running pal, through that tunnel.
//! - [`tunnel`]: userspace WireGuard and TCP, so that `cloudpal open` needs no root.
//!
//! What it never does: send the seed phrase or anything derived from it except the data key, and that
//! only to a pal whose pinned key was proved; take a secret as an argument or from the environment; trust
//! a host with another key than the one pinned; begin a step that costs credit before the step before it
//! is on disk.
//!
//! ```
//! use cloudpal_core::{Secret, SeedPhrase};
//! use cloudpal_cli::person::Person;
//!
//! let dir = std::env::temp_dir().join(format!("cloudpal-doc-{}", std::process::id()));
//! let person = Person::at(&dir);
//! let _locked = person.lock()?;
//! person.set_up(&SeedPhrase::from_entropy(&Secret::new([7; 32])), || Ok::<(), cloudpal_cli::person::PersonError>(()))?;
//! assert_eq!(person.phrase()?.words().split(' ').count(), 24);
//! assert!(person.pals()?.is_empty());
//! # std::fs::remove_dir_all(&dir).ok();
//! # Ok::<(), cloudpal_cli::person::PersonError>(())
//! ```

pub mod app;
pub mod args;
pub mod command;
pub mod credit;
pub mod failure;
pub mod host;
pub mod local;
pub mod person;
pub mod printable;
pub mod qr;
pub mod remote;
pub mod session;
pub mod terminal;
pub mod told;
pub mod tunnel;
