//! One tenant's place on the host.
//!
//! ```text
//!        uplink namespace      |             tenant namespace                  |  machine
//!                              |                                               |
//!  route PUB -> NAME ==========|== up0 -- firewall -- route PUB -> tap0 =======|== eth0 (PUB)
//!                              |                                \-> bell0 = doorbell
//! ```
//!
//! `PUB` is the pal's public address, a /32 and a /128, held by the machine itself. Next hops and
//! hardware addresses are fixed on all three links, so that nothing has to be asked or learnt.

mod firewall;
mod links;
mod recorded;
mod switch;

pub use firewall::{Blocked, FirewallError};
pub use links::guest_mac;
pub(crate) use links::wait_until_running;
pub use recorded::{Recorded, RecordedSession, Traffic};
pub use switch::{Switch, SwitchError, Target};

use crate::namespace::{Namespace, NamespaceError};
use crate::netlink::NetlinkError;
use links::Macs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The tap that the hypervisor opens by this name.
pub(crate) const TAP: &str = "tap0";
/// The TUN that the doorbell reads.
pub(crate) const BELL: &str = "bell0";
/// The tenant's end of the pair that leads to the uplink namespace.
pub(crate) const UP: &str = "up0";

/// The guest's IPv4 next hop, the same for every pal.
pub(crate) const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The guest's IPv6 next hop, the same for every pal.
pub(crate) const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// Where a tenant's packets leave to and come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uplink {
    /// The network namespace of this process. It must forward: see [`Tenant::forwards`].
    Root,
    /// A namespace by name.
    Named(String),
}

impl Uplink {
    fn open(&self) -> Result<Namespace, NamespaceError> {
        match self {
            Uplink::Root => Namespace::own(),
            Uplink::Named(name) => Namespace::open(name),
        }
    }
}

/// What a tenant's place is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantPlan {
    /// Names its namespace and its interface in the uplink namespace: letters, digits and hyphens, at most 15.
    pub name: String,
    /// Where its packets leave to.
    pub uplink: Uplink,
    /// The pal's public IPv4 address.
    pub public_v4: Ipv4Addr,
    /// The pal's public IPv6 address, if it has one.
    pub public_v6: Option<Ipv6Addr>,
    /// UDP port of the pal's WireGuard, the same inside and out.
    pub listen_port: u16,
    /// Hardware address of the machine's interface; [`guest_mac`] gives one.
    pub guest_mac: [u8; 6],
    /// User id that the hypervisor runs as.
    pub tap_owner: u32,
    /// Networks that the pal may not reach except by WireGuard: the data centre's own. Link-local,
    /// loopback and multicast addresses are always refused.
    pub refused: Vec<Blocked>,
}

/// What a guest needs to know to reach the world: for `GuestLink` of the boot record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestGateway {
    /// IPv4 next hop, on-link.
    pub gateway_v4: Ipv4Addr,
    /// IPv6 next hop, on-link.
    pub gateway_v6: Ipv6Addr,
    /// Hardware address of both.
    pub gateway_mac: [u8; 6],
}

/// A tenant's place could not be prepared or removed.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// Something about its namespace or the uplink's.
    #[error("could not use a namespace of tenant {tenant}")]
    Namespace {
        /// The tenant's name.
        tenant: String,
        /// Why.
        #[source]
        source: NamespaceError,
    },
    /// The kernel refused a link, address, route or setting.
    #[error("could not lay the network of tenant {tenant}; the host's agent must run as root")]
    Kernel {
        /// The tenant's name.
        tenant: String,
        /// Why.
        #[source]
        source: NetlinkError,
    },
    /// Something about its firewall.
    #[error("could not use the firewall of tenant {tenant}")]
    Firewall {
        /// The tenant's name.
        tenant: String,
        /// Why.
        #[source]
        source: FirewallError,
    },
    /// The route cannot be switched.
    #[error("could not use the route of tenant {tenant}")]
    Switch {
        /// The tenant's name.
        tenant: String,
        /// Why.
        #[source]
        source: SwitchError,
    },
}

/// A tenant's place, prepared. Dropping it leaves everything in place and packets running.
#[derive(Debug)]
pub struct Tenant {
    plan: TenantPlan,
    namespace: Namespace,
    switch: Switch,
}

/// Turns the parts' errors into the tenant's.
struct Naming<'a>(&'a str);

impl Naming<'_> {
    fn namespace(&self, source: NamespaceError) -> TenantError {
        TenantError::Namespace { tenant: self.0.to_owned(), source }
    }
    fn kernel(&self, source: NetlinkError) -> TenantError {
        TenantError::Kernel { tenant: self.0.to_owned(), source }
    }
    fn firewall(&self, source: FirewallError) -> TenantError {
        TenantError::Firewall { tenant: self.0.to_owned(), source }
    }
    fn switch(&self, source: SwitchError) -> TenantError {
        TenantError::Switch { tenant: self.0.to_owned(), source }
    }
}

impl Tenant {
    /// Lays what is missing and leaves alone what is there: called again over a living tenant it
    /// disturbs no packet. A new tenant's route leads to the doorbell.
    pub fn prepare(plan: &TenantPlan) -> Result<Self, TenantError> {
        let naming = Naming(&plan.name);
        let namespace = Namespace::create(&plan.name).map_err(|e| naming.namespace(e))?;
        let uplink = plan.uplink.open().map_err(|e| naming.namespace(e))?;
        let macs = Macs::of(&plan.name);

        // The firewall comes first: nothing may pass without it.
        let rules = namespace.run(|| firewall::lay(plan)).map_err(|e| naming.namespace(e))?;
        rules.map_err(|e| naming.firewall(e))?;
        let pair =
            uplink.run(|| links::lay_pair(plan, &macs, &namespace)).map_err(|e| naming.namespace(e))?;
        pair.map_err(|e| naming.kernel(e))?;
        let inside = namespace.run(|| links::lay_inside(plan, &macs)).map_err(|e| naming.namespace(e))?;
        inside.map_err(|e| naming.kernel(e))?;
        for (end, name) in [(&namespace, UP), (&uplink, plan.name.as_str())] {
            let settled = end.run(|| links::settle(name)).map_err(|e| naming.namespace(e))?;
            settled.map_err(|e| naming.kernel(e))?;
        }
        let switch = namespace.run(|| Switch::open(plan)).map_err(|e| naming.namespace(e))?;
        let switch = switch.map_err(|e| naming.switch(e))?;
        if switch.current().map_err(|e| naming.switch(e))? == Target::Nowhere {
            switch.to_bell().map_err(|e| naming.switch(e))?;
        }
        Ok(Tenant { plan: plan.clone(), namespace, switch })
    }

    /// Removes a tenant's place: namespace, interfaces, routes, firewall. One that is not there, or
    /// only in part, is fine. Its machine must have ended, as it holds the tap.
    pub fn remove(name: &str, uplink: &Uplink) -> Result<(), TenantError> {
        let naming = Naming(name);
        match uplink.open() {
            Ok(uplink) => {
                let removed = uplink.run(|| links::remove(name)).map_err(|e| naming.namespace(e))?;
                removed.map_err(|e| naming.kernel(e))?;
            }
            // The uplink is gone, and the pair with it.
            Err(NamespaceError::Open { .. }) => {}
            Err(error) => return Err(naming.namespace(error)),
        }
        if let Ok(namespace) = Namespace::open(name) {
            for link in [TAP, BELL, UP] {
                let removed = namespace.run(|| links::remove(link)).map_err(|e| naming.namespace(e))?;
                removed.map_err(|e| naming.kernel(e))?;
            }
        }
        Namespace::remove(name).map_err(|e| naming.namespace(e))
    }

    /// What it was prepared from.
    pub fn plan(&self) -> &TenantPlan {
        &self.plan
    }

    /// Its namespace, in which the hypervisor runs.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The tap that the hypervisor opens by name inside the namespace: single queue, with a
    /// virtio-net header (`vnet_hdr=on`), owned by the plan's user.
    pub fn tap_name(&self) -> &'static str {
        TAP
    }

    /// What the guest must be told.
    pub fn gateway(&self) -> GuestGateway {
        let gateway_mac = Macs::of(&self.plan.name).tap;
        GuestGateway { gateway_v4: GATEWAY_V4, gateway_v6: GATEWAY_V6, gateway_mac }
    }

    /// The switch between machine and doorbell.
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// What the firewall recorded of sessions and answered initiations.
    pub fn recorded(&self) -> Result<Recorded, TenantError> {
        let naming = Naming(&self.plan.name);
        let read = self.namespace.run(|| recorded::read(&self.plan)).map_err(|e| naming.namespace(e))?;
        read.map_err(|e| naming.firewall(e))
    }

    /// Bytes and packets since the firewall was laid.
    pub fn traffic(&self) -> Result<Traffic, TenantError> {
        let naming = Naming(&self.plan.name);
        let read = self.namespace.run(recorded::traffic).map_err(|e| naming.namespace(e))?;
        read.map_err(|e| naming.firewall(e))
    }

    /// Whether the uplink namespace forwards IPv4 and, if the pal has an IPv6 address, IPv6. Without
    /// that only the uplink itself reaches the pal. Switching it on is the operator's choice:
    /// `sysctl net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1`.
    pub fn forwards(&self) -> Result<bool, TenantError> {
        let naming = Naming(&self.plan.name);
        let uplink = self.plan.uplink.open().map_err(|e| naming.namespace(e))?;
        uplink.run(|| links::forwards(&self.plan)).map_err(|e| naming.namespace(e))
    }

    /// The pal's public addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        addresses(&self.plan)
    }
}

fn addresses(plan: &TenantPlan) -> impl Iterator<Item = IpAddr> + use<> {
    [Some(IpAddr::V4(plan.public_v4)), plan.public_v6.map(IpAddr::V6)].into_iter().flatten()
}
