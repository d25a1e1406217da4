//! The stage: a namespace that stands for the world, a tenant in it, and a stand-in for the machine
//! on the tenant's tap, which answers ARP and notes every datagram.

mod machine;

use cloudpal_core::{AgreementKey, AgreementSecret, Secret};
use cloudpal_link::{Doorbell, Namespace, Tenant, TenantPlan, Uplink, guest_mac};
pub use machine::{Machine, open_as};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub const PAL_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
pub const PAL_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
pub const WORLD_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub const WORLD_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
pub const PORT: u16 = 51820;
pub const PAL_SECRET: [u8; 32] = [0x44; 32];

pub fn pal_key() -> AgreementKey {
    AgreementSecret::from_secret(&Secret::new(PAL_SECRET)).public()
}

pub fn pal(world: IpAddr) -> SocketAddr {
    let pal: IpAddr = if world.is_ipv4() { PAL_V4.into() } else { PAL_V6.into() };
    SocketAddr::new(pal, PORT)
}

/// Everything goes when it is dropped.
pub struct Stage {
    pub world: Namespace,
    pub plan: TenantPlan,
    pub tenant: Tenant,
}

impl Stage {
    pub fn set() -> Stage {
        assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces; run it as root");
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("cpt{}-{number}", std::process::id());
        let world = Namespace::create(&format!("{name}w")).expect("a namespace for the world");
        for arguments in [
            "link set lo up",
            &format!("address add {WORLD_V4}/32 dev lo"),
            &format!("address add {WORLD_V6}/128 dev lo nodad"),
        ] {
            ip(&world, arguments);
        }
        let plan = TenantPlan {
            uplink: Uplink::Named(world.name().to_owned()),
            public_v4: PAL_V4,
            public_v6: Some(PAL_V6),
            listen_port: PORT,
            guest_mac: guest_mac(&name),
            tap_owner: 65534,
            refused: vec![cloudpal_link::Blocked { network: Ipv4Addr::new(10, 0, 0, 0).into(), prefix: 8 }],
            name,
        };
        let tenant = Tenant::prepare(&plan).expect("a tenant");
        Stage { world, plan, tenant }
    }

    pub fn machine(&self) -> Machine {
        Machine::start(&self.tenant)
    }

    pub fn bell(&self) -> Doorbell {
        Doorbell::open(&self.tenant, &pal_key(), Secret::new([5; 32])).expect("a doorbell")
    }

    /// A socket in the world that talks to the pal's WireGuard port.
    pub fn socket(&self, from: IpAddr) -> UdpSocket {
        let open = || -> std::io::Result<UdpSocket> {
            let socket = UdpSocket::bind((from, 0))?;
            socket.connect(pal(from))?;
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            Ok(socket)
        };
        self.world.run(open).expect("the world's namespace").expect("a socket in the world")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let removed = Tenant::remove(&self.plan.name, &self.plan.uplink);
        let world = Namespace::remove(self.world.name());
        if !std::thread::panicking() {
            removed.expect("the tenant is removed");
            world.expect("the world is removed");
        }
    }
}

pub fn ip(namespace: &Namespace, arguments: &str) {
    run(namespace, "ip", arguments);
}

/// Runs a program inside and returns what it says.
pub fn run(namespace: &Namespace, program: &str, arguments: &str) -> String {
    let output = namespace.run(|| Command::new(program).args(arguments.split_whitespace()).output());
    let output = output.expect("the namespace").expect("the program");
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A data message of WireGuard's form that carries a number.
pub fn numbered(number: u32) -> [u8; 96] {
    let mut message = [0; 96];
    message[0] = 4;
    message[4..8].copy_from_slice(&7u32.to_le_bytes());
    message[8..12].copy_from_slice(&number.to_le_bytes());
    message
}
