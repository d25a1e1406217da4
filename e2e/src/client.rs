//! The device: Debian's wireguard-go and wireguard-tools in the client's namespace, with the config that
//! the pal's owner was given. Nothing of ours runs in it.

use crate::inside::{command, output};
use crate::stage::Namespace;
use anyhow::{Context as _, Result, bail};
use cloudpal_plan::conf::ClientConf;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A stock client that is connected, or ready to be. Ends when dropped.
pub struct Client {
    namespace: String,
    interface: String,
    conf: ClientConf,
    /// What `wg setconf` reads: the config without the lines that only wg-quick knows.
    settings: PathBuf,
    process: Option<Child>,
}

impl Client {
    /// Starts the client with the config file that `cloudpal device add` wrote.
    pub fn start(namespace: &Namespace, conf: &Path, scratch: &Path) -> Result<Self> {
        let text = fs::read_to_string(conf).with_context(|| format!("cannot read {}", conf.display()))?;
        let parsed = ClientConf::parse(&text)?;
        let settings = scratch.join("wg.conf");
        let stripped: Vec<_> =
            text.lines().filter(|line| !["Address", "DNS"].iter().any(|key| line.starts_with(key))).collect();
        fs::write(&settings, stripped.join("\n"))
            .with_context(|| format!("cannot write {}", settings.display()))?;
        // Its control socket lies in a folder that all namespaces share, so the name must be its own.
        let interface = format!("wgc{}", std::process::id());
        let (namespace, gateway) = (namespace.name.clone(), namespace.gateway_v4);
        let mut client = Client { namespace, interface, conf: parsed, settings, process: None };
        // What wg-quick does with marks: the tunnel's own packets do not go into the tunnel.
        client.ip(&format!("route replace {} via {gateway}", client.conf.endpoint.ip()))?;
        client.restart()?;
        Ok(client)
    }

    /// Ends the client's process and starts another: no session, queue or cookie is left.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        let mut engine = command(&self.namespace, &format!("wireguard-go -f {}", self.interface));
        engine.env("LOG_LEVEL", "error").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(engine.spawn().context("cannot start wireguard-go")?);
        self.wait_for_socket()?;
        let name = &self.interface;
        output(command(&self.namespace, &format!("wg setconf {name}")).arg(&self.settings))?;
        // Linux greets every link that speaks IPv6 with packets of its own; the first packet here is the test's.
        output(&mut command(&self.namespace, &format!("sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1")))?;
        self.ip(&format!("addr add {} dev {name}", self.conf.device.v4))?;
        self.ip(&format!("link set {name} mtu 1420 up"))?;
        // Everything goes through the tunnel; halves win over the default route and leave it in place.
        for half in ["0.0.0.0/1", "128.0.0.0/1"] {
            self.ip(&format!("route add {half} dev {name}"))?;
        }
        Ok(())
    }

    fn wait_for_socket(&mut self) -> Result<()> {
        let socket = format!("/var/run/wireguard/{}.sock", self.interface);
        let since = Instant::now();
        while !Path::new(&socket).exists() {
            if let Some(status) = self.process.as_mut().and_then(|process| process.try_wait().ok().flatten())
            {
                bail!("wireguard-go ended with {status}");
            }
            if since.elapsed() > Duration::from_secs(20) {
                bail!("wireguard-go made no {socket} in 20 s");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn ip(&self, arguments: &str) -> Result<()> {
        output(Command::new("ip").args(["-n", &self.namespace]).args(arguments.split_whitespace())).map(drop)
    }

    /// Forgets the pal and meets it again: the next packet begins with a new handshake. Quicker than a restart.
    pub fn forget_session(&self) -> Result<()> {
        let peers = output(&mut command(&self.namespace, &format!("wg show {} peers", self.interface)))?;
        for peer in peers.split_whitespace() {
            output(&mut command(&self.namespace, &format!("wg set {} peer {peer} remove", self.interface)))?;
        }
        output(command(&self.namespace, &format!("wg addconf {}", self.interface)).arg(&self.settings))
            .map(drop)
    }

    /// Ends the client's process.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // `ip netns exec` becomes the program, so this ends wireguard-go itself.
            let _ = process.kill();
            let _ = process.wait();
            let _ = self.ip(&format!("link del {}", self.interface));
            let _ = fs::remove_file(format!("/var/run/wireguard/{}.sock", self.interface));
        }
    }

    /// What it is, by its own words.
    pub fn version(&self) -> Result<String> {
        let said = output(Command::new("wireguard-go").arg("--version"))?;
        let tools = output(Command::new("wg").arg("--version"))?;
        let first = |text: &str| text.lines().next().unwrap_or_default().trim().to_owned();
        Ok(format!("{}; {}", first(&said), first(&tools)))
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The pal's overlay address.
    pub fn hub(&self) -> IpAddr {
        self.conf.hub.v4.into()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop();
        // It holds the device's private key.
        let _ = fs::remove_file(&self.settings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Capture, answered_initiations, handshake_ms};
    use crate::ping::{self, Pinger};
    use cloudpal_core::{AgreementSecret, PalId, Secret};
    use cloudpal_plan::conf::Routing;
    use cloudpal_plan::{Overlay, Roster};

    const PORT: u16 = 51820;

    /// Removes what a test made, whatever came of it.
    struct Ground {
        client: String,
        hub: String,
        scratch: PathBuf,
        engine: Option<Child>,
    }

    impl Ground {
        fn lay() -> Self {
            let number = std::process::id();
            let ground = Ground {
                client: format!("cpal-t{number}-a"),
                hub: format!("cpal-t{number}-b"),
                scratch: std::env::temp_dir().join(format!("cloudpal-client-{number}")),
                engine: None,
            };
            fs::create_dir_all(&ground.scratch).unwrap();
            let (a, b) = (&ground.client, &ground.hub);
            for line in [
                format!("netns add {a}"),
                format!("netns add {b}"),
                format!("-n {a} link add wan type veth peer name wan netns {b}"),
                format!("-n {a} addr add 198.19.255.1/30 dev wan"),
                format!("-n {b} addr add 198.19.255.2/30 dev wan"),
                format!("-n {a} link set wan up"),
                format!("-n {b} link set wan up"),
            ] {
                output(Command::new("ip").args(line.split_whitespace())).unwrap();
            }
            ground
        }

        /// A stock WireGuard at the other end stands for the pal.
        fn start_hub(&mut self, key: &Path, device: &str, address: IpAddr) {
            let name = format!("wgh{}", std::process::id());
            let mut engine = command(&self.hub, &format!("wireguard-go -f {name}"));
            self.engine = Some(engine.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
            let socket = format!("/var/run/wireguard/{name}.sock");
            while !Path::new(&socket).exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
            let key = key.display();
            let set = format!(
                "wg set {name} private-key {key} listen-port {PORT} peer {device} allowed-ips 0.0.0.0/0"
            );
            output(&mut command(&self.hub, &set)).unwrap();
            for line in [
                format!("addr add {address} dev {name}"),
                format!("link set {name} up"),
                format!("route add default dev {name}"),
            ] {
                output(Command::new("ip").args(["-n", &self.hub]).args(line.split_whitespace())).unwrap();
            }
        }
    }

    impl Drop for Ground {
        fn drop(&mut self) {
            if let Some(mut engine) = self.engine.take() {
                let _ = engine.kill();
                let _ = engine.wait();
            }
            let _ = fs::remove_file(format!("/var/run/wireguard/wgh{}.sock", std::process::id()));
            for name in [&self.client, &self.hub] {
                let _ = output(Command::new("ip").args(["netns", "del", name]));
            }
            let _ = fs::remove_dir_all(&self.scratch);
        }
    }

    fn wg(line: &str, input: &str) -> String {
        use std::io::Write as _;
        let mut child =
            Command::new("wg").arg(line).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
    }

    fn secret(key: &str) -> Secret<32> {
        use std::str::FromStr as _;
        let hex = output(
            Command::new("sh")
                .args(["-c", &format!("echo {key} | base64 -d | od -An -v -tx1 | tr -d ' \\n'")]),
        );
        let public = cloudpal_core::AgreementKey::from_str(hex.unwrap().trim()).unwrap();
        Secret::new(*public.as_bytes())
    }

    /// Takes root and wireguard-go. Shows that the probes of a day see what they are meant to see.
    #[test]
    fn a_stock_client_meets_a_stock_hub_and_every_probe_sees_it() {
        let mut ground = Ground::lay();
        let (hub_key, device_key) = (wg("genkey", ""), wg("genkey", ""));
        let key_file = ground.scratch.join("hub.key");
        fs::write(&key_file, &hub_key).unwrap();
        let overlay = Overlay::of(PalId::from_random([4; 16]));
        let conf = ClientConf {
            private_key: secret(&device_key),
            device: overlay.next_free(&Roster::empty("ada")).unwrap(),
            hub: overlay.hub(),
            pal: AgreementSecret::from_secret(&secret(&hub_key)).public(),
            endpoint: format!("198.19.255.2:{PORT}").parse().unwrap(),
            routing: Routing::ThroughPal,
        };
        let hub = IpAddr::from(conf.hub.v4);
        ground.start_hub(&key_file, &wg("pubkey", &device_key), hub);
        let path = ground.scratch.join("phone.conf");
        fs::write(&path, conf.render().as_bytes()).unwrap();

        let namespace = Namespace {
            name: ground.client.clone(),
            v4: [198, 19, 255, 1].into(),
            gateway_v4: [198, 19, 255, 2].into(),
        };
        let mut client = Client::start(&namespace, &path, &ground.scratch).unwrap();
        let capture = Capture::begin(&ground.client, PORT).unwrap();
        ping::once(&ground.client, hub, Duration::from_secs(20)).unwrap();
        client.forget_session().unwrap();
        ping::once(&ground.client, hub, Duration::from_secs(20)).unwrap();
        client.restart().unwrap();
        ping::until_answered(&ground.client, hub, Duration::from_secs(20)).unwrap();
        let pinger = Pinger::begin(&ground.client, hub).unwrap();
        std::thread::sleep(Duration::from_millis(1100));
        let count = pinger.end().unwrap();
        let passed = capture.end();
        assert!(
            answered_initiations(&passed).len() >= 3,
            "{} initiations",
            answered_initiations(&passed).len()
        );
        assert!(handshake_ms(&passed).is_some());
        assert!(count.sent >= 5 && count.lost() == 0, "{count:?}");
        assert!(client.version().unwrap().contains("wireguard-tools"));
        // The control: with the hub gone, pings are lost and that is seen.
        ground.engine.take().map(|mut engine| (engine.kill(), engine.wait()));
        let pinger = Pinger::begin(&ground.client, hub).unwrap();
        std::thread::sleep(Duration::from_millis(1100));
        assert!(pinger.end().unwrap().lost() >= 4);
        drop(client);
        let left = output(&mut command(&ground.client, "ip -o link")).unwrap();
        assert!(!left.contains("wgc"), "{left}");
    }
}
