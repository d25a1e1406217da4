//! # How datagrams reach a pal, awake or asleep
//!
//! The host's side: a network namespace per tenant ([`Namespace`], [`Tenant`]), the firewall in it
//! and what that records ([`Recorded`], [`Traffic`]), the switch of a route between the machine and
//! the doorbell ([`Switch`]), and the doorbell itself ([`Doorbell`]). The pal's side is [`guest`].
//!
//! While a pal is awake nothing of this crate is on the path of its packets: the kernel routes them.
//! All calls block; a host runs them on the pal's own thread. This crate never decides whether a
//! datagram may wake a pal (that is `cloudpal_plan::wake`), never touches a namespace that it was not told of,
//! and never logs addresses.
//!
//! ```no_run
//! use cloudpal_core::{AgreementKey, Secret};
//! use cloudpal_link::{Doorbell, Tenant, TenantPlan, Uplink, guest_mac};
//!
//! let plan = TenantPlan {
//!     name: "cp-1a2b3c4d".into(),
//!     uplink: Uplink::Root,
//!     public_v4: [203, 0, 113, 7].into(),
//!     public_v6: None,
//!     listen_port: 51820,
//!     guest_mac: guest_mac("cp-1a2b3c4d"),
//!     tap_owner: 64001,
//!     refused: Vec::new(),
//! };
//! let tenant = Tenant::prepare(&plan)?;
//! let mut bell = Doorbell::open(&tenant, &AgreementKey::from_bytes([1; 32]), Secret::new([2; 32]))?;
//! // ...the machine runs; it is to sleep:
//! tenant.switch().to_bell()?;
//! bell.barrier(std::time::Duration::from_millis(500))?;
//! // ...pause and save the machine, then:
//! bell.listen(&tenant.recorded()?);
//! while !bell.pump()?.rung {
//!     bell.wait(None)?;
//! }
//! // ...restore the machine, wait for its `Awake`, then:
//! bell.hand_over(tenant.switch())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bell;
pub mod guest;
mod namespace;
mod netlink;
mod route;
mod tenant;

pub use bell::{Barrier, BellError, Doorbell, HandOver, Heard, Packet};
pub use namespace::{Namespace, NamespaceError};
pub use netlink::NetlinkError;
pub use tenant::{
    Blocked, FirewallError, GuestGateway, Recorded, RecordedSession, Switch, SwitchError, Target, Tenant,
    TenantError, TenantPlan, Traffic, Uplink, guest_mac,
};
