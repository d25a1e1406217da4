//! # Finding who has a log
//!
//! A [`Swarm`] puts a [store](cloudpal_store) on HyperDHT, the distributed hash table that npm hyperswarm uses: it
//! announces logs by their discovery keys, looks up who else announced them, makes a way through both sides' address
//! translation, and hands the encrypted connection to the store, which replicates on it as on any other.
//!
//! Nothing starts it but whoever calls [`Swarm::start`]: being on the table is public. Its nodes, and whoever asks
//! them, learn this machine's address and the discovery keys that are announced or looked up; who knows a log's key
//! knows its discovery key too. The log itself goes only to those who prove that they know its key.
//!
//! It never decides who may read a log ([`Access`](cloudpal_store::Access) and the store do), never keeps anything on
//! disk, speaks IPv4 only, as the table does, and asks no node to carry its data: two machines whose address
//! translation hides every port anew do not reach each other.
//!
//! ```no_run
//! use cloudpal_store::{Options, Store, StoreKey};
//! use cloudpal_swarm::{Part, Swarm, SwarmOptions};
//! use std::time::Duration;
//!
//! let store = Store::open("data".as_ref(), &StoreKey::random()?, Options::default())?;
//! let log = store.log("notes")?;
//! let swarm = Swarm::start(&store, SwarmOptions::default())?;
//! let topic = log.info().discovery_key;
//! swarm.join(topic, Part::Serve);
//! let standing = swarm.wait(&topic, Duration::from_secs(30), |standing| standing.announced);
//! assert!(standing.announced, "{:?}", standing.trouble);
//! swarm.close();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Inside, [`Swarm`] is a handle to one thread with a runtime of its own, so that it serves callers who have none.
//! `actor` decides, by two schedules without IO (`topics`: what is due when; `peers`: whom to dial, and when again);
//! `door` answers those who knock; `carry` joins a connection and the store.

mod actor;
mod board;
mod carry;
mod door;
mod error;
mod node;
mod options;
mod peers;
mod punch;
mod schedule;
mod swarm;
mod topics;

pub use board::Standing;
pub use error::StartError;
pub use node::Node;
pub use options::{Bootstrap, Part, SwarmOptions};
pub use swarm::Swarm;

/// What a topic, a peer and a log's discovery key are to the table.
type Key = [u8; 32];
