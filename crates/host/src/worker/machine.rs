//! Carrying out the lifecycle's commands: the pal's network, disks and machine.

use super::{Quiescing, Worker};
use crate::config::Config;
use crate::doorbell::BellThread;
use crate::lifecycle::Event;
use crate::network::WIREGUARD_PORT;
use crate::registry::Registry;
use crate::store::PalRecord;
use crate::time::unix_ms;
use crate::worker::port::Port;
use anyhow::Context;
use cloudpal_link::{Tenant, TenantPlan, Uplink, guest_mac};
use cloudpal_machine::{Access, Binding, Disk, MachineSpec, Nic, Offload, RunAs};
use cloudpal_protocol::VERSION;
use cloudpal_protocol::api::PalState;
use cloudpal_protocol::guest::{BootRecord, GuestLink, ToGuest, WakeReason, Woke};
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A cold boot may take this long; without KVM it takes about four seconds.
const BOOT: Duration = Duration::from_secs(90);
/// Dropping data and sessions may take this long; writing back a slow disk takes longest.
const QUIESCE: Duration = Duration::from_secs(30);
/// A restored guest answers within this time or is booted cold.
const WAKE: Duration = Duration::from_secs(15);
/// A guest that a packet woke hears from its host this much later.
const WOKE_AFTER: Duration = Duration::from_millis(120);
/// Size of the network state volume.
const NETWORK_VOLUME: u64 = 16 << 20;
/// Control group under which all machines have theirs.
const CGROUP: &str = "cloudpal";

fn tenant_name(record: &PalRecord) -> String {
    format!("cp-{}", record.id.short())
}

fn uplink(config: &Config) -> Uplink {
    config.uplink_netns.clone().map_or(Uplink::Root, Uplink::Named)
}

/// Lays the pal's network, or finds it as it is.
pub(super) fn prepare_network(registry: &Registry, record: &PalRecord) -> anyhow::Result<Tenant> {
    let name = tenant_name(record);
    let plan = TenantPlan {
        uplink: uplink(&registry.config),
        public_v4: record.public_v4,
        public_v6: record.public_v6,
        listen_port: WIREGUARD_PORT,
        guest_mac: guest_mac(&name),
        tap_owner: registry.config.machine_uid(record.public_v4),
        refused: vec![],
        name,
    };
    let tenant = Tenant::prepare(&plan)?;
    if !tenant.forwards()? {
        tracing::warn!("the uplink does not forward packets: `sysctl net.ipv4.ip_forward=1`");
    }
    Ok(tenant)
}

/// Removes the control group that held all machines.
pub fn take_down_cgroup() -> anyhow::Result<()> {
    cloudpal_machine::remove_cgroup_parent(CGROUP).map_err(Into::into)
}

/// Takes the pal's network down; its disks and its memory image stay.
pub fn take_down_network(registry: &Registry, record: &PalRecord) -> anyhow::Result<()> {
    Tenant::remove(&tenant_name(record), &uplink(&registry.config)).map_err(Into::into)
}

impl Worker {
    fn folder(&self) -> PathBuf {
        self.registry.dir.join("pals").join(self.id().to_string())
    }

    fn snapshot_folder(&self) -> PathBuf {
        self.folder().join("memory")
    }

    fn spec(&self) -> MachineSpec {
        let (registry, folder) = (&self.registry, self.folder());
        let disk = |file: &str, serial: &str| Disk {
            path: folder.join(file),
            serial: serial.into(),
            access: Access::ReadWrite,
        };
        let uid = registry.config.machine_uid(self.record.public_v4);
        MachineSpec {
            name: tenant_name(&self.record),
            run_dir: registry.dir.join("run").join(self.id().short()),
            kernel: registry.image.kernel.clone(),
            initrd: registry.image.initrd.clone(),
            memory_mib: registry.config.memory_mib,
            cpus: 1,
            disks: vec![disk("network.img", "network"), disk("data.img", "data")],
            nic: Some(Nic {
                tap: self.tenant.tap_name().into(),
                mac: self.tenant.plan().guest_mac,
                offload: Offload::On,
            }),
            netns: Some(cloudpal_link::Namespace::path_of(self.tenant.namespace().name())),
            run_as: RunAs { uid, gid: uid },
            cgroup_parent: CGROUP.into(),
            cmdline: vec![],
        }
    }

    fn binding(&self, generation: u64) -> Binding {
        Binding { image: self.registry.image.digest.clone(), pal: self.id().to_string(), generation }
    }

    fn wait_for(&mut self, limit: Duration, otherwise: Event) {
        self.deadline = Some((Instant::now() + limit, otherwise));
    }

    /// Logs why a command failed, for the operator, and gives the event that follows.
    fn failed(&mut self, what: &str, error: &anyhow::Error, event: Event) -> Option<Event> {
        tracing::error!(pal = %self.id().short(), error = %format!("{error:#}"), "{what}");
        Some(event)
    }

    // Taking up what an earlier agent left.

    pub(super) fn take_up(&mut self) {
        self.refresh_paid();
        if let Err(error) = self.open_doorbell() {
            self.failed("cannot open the doorbell", &error, Event::Died);
        }
        let adopted = self.record.machine.clone().map(|handle| (self.registry.engine.adopt(&handle), handle));
        match adopted {
            Some((Ok(machine), _)) => {
                tracing::info!(pal = %self.id().short(), pid = machine.handle().pid, "adopted its machine");
                self.machine = Some(machine);
                self.take_up_running();
            }
            Some((Err(error), handle)) => {
                tracing::warn!(pal = %self.id().short(), %error, "its machine cannot be adopted");
                if let Err(error) = handle.clear() {
                    tracing::warn!(%error, "something of it is left behind");
                }
                self.record.machine = None;
                self.take_up_stopped();
            }
            None => self.take_up_stopped(),
        }
    }

    fn take_up_running(&mut self) {
        self.reconnect();
        match self.record.state {
            PalState::Awake => self.reconcile_route(),
            PalState::Booting => self.wait_for(BOOT, Event::BootFailed),
            // The guest may be in the middle of anything; a resume is right in every case.
            PalState::Quiescing | PalState::Saving | PalState::Resuming => {
                self.life = crate::lifecycle::Lifecycle::restored(PalState::Resuming);
                self.record.state = PalState::Resuming;
                if let Some(event) = self.resume() {
                    self.event(event);
                }
            }
            // Restored, and unknown whether it continued: never let the same memory go on twice.
            _ => self.event(Event::WakeFailed),
        }
    }

    fn take_up_stopped(&mut self) {
        match self.record.state {
            PalState::Paid => self.event(Event::Start),
            PalState::Asleep | PalState::Unpaid => self.listen_again(),
            PalState::Waking => self.event(Event::WakeFailed),
            PalState::Gone | PalState::Failed => {}
            _ => self.event(Event::Died),
        }
    }

    fn reconcile_route(&mut self) {
        if let Err(error) = self.tenant.switch().to_tap() {
            self.failed("cannot switch the route to the machine", &error.into(), Event::Died);
        }
    }

    fn listen_again(&mut self) {
        let listened = self.doorbell.as_ref().map(|bell| bell.listen_again(&self.tenant));
        if let Some(Err(error)) = listened {
            self.failed("cannot listen at the doorbell", &error, Event::Died);
        }
    }

    /// Once the pal's WireGuard key is known.
    fn open_doorbell(&mut self) -> anyhow::Result<()> {
        let Some(keys) = self.record.keys else { return Ok(()) };
        if self.doorbell.is_none() {
            fs::create_dir_all(self.folder())?;
            let bell =
                BellThread::start(&self.tenant, &keys.wireguard, &self.folder(), self.messages.clone())?;
            self.doorbell = Some(bell);
        }
        Ok(())
    }

    pub(super) fn reconnect(&mut self) {
        let Some(machine) = &self.machine else { return };
        self.open_port(machine.channel().map_err(Into::into));
        self.tell(&ToGuest::Hello { versions: vec![VERSION] });
    }

    fn open_port(&mut self, stream: anyhow::Result<UnixStream>) {
        self.ports_opened += 1;
        // One connection at a time: the old one goes first.
        self.port = None;
        let opened = stream.and_then(|s| Ok(Port::open(self.ports_opened, s, self.messages.clone())?));
        match opened {
            Ok(port) => self.port = Some(port),
            Err(error) => tracing::debug!(error = %format!("{error:#}"), "cannot reach the guest yet"),
        }
    }

    // Booting.

    pub(super) fn boot(&mut self) -> Option<Event> {
        self.wait_for(BOOT, Event::BootFailed);
        match self.start_machine() {
            Ok(()) => None,
            Err(error) => self.failed("cannot boot its machine", &error, Event::BootFailed),
        }
    }

    fn start_machine(&mut self) -> anyhow::Result<()> {
        self.forget_snapshot()?;
        self.make_disks()?;
        // An agent that died between starting a machine and writing that down leaves one nobody knows of.
        cloudpal_machine::clear_leftovers(CGROUP, &tenant_name(&self.record))?;
        self.record.generation += 1;
        let machine = self.registry.engine.boot(&self.spec())?;
        self.record.machine = Some(machine.handle().clone());
        self.record.boots += 1;
        self.machine = Some(machine);
        self.save("machine started");
        self.reconnect();
        Ok(())
    }

    fn forget_snapshot(&mut self) -> anyhow::Result<()> {
        self.record.snapshot = None;
        let folder = self.snapshot_folder();
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", folder.display()))
            }
            _ => Ok(()),
        }
    }

    fn make_disks(&self) -> anyhow::Result<()> {
        let folder = self.folder();
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        make_disk(&folder.join("network.img"), NETWORK_VOLUME)?;
        make_disk(&folder.join("data.img"), self.registry.config.data_mib << 20)
    }

    pub(super) fn send_boot_record(&mut self) {
        match self.boot_record() {
            Ok(record) => drop(self.tell(&ToGuest::Boot(Box::new(record)))),
            Err(error) => drop(self.failed("cannot make the boot record", &error, Event::BootFailed)),
        }
    }

    fn boot_record(&self) -> anyhow::Result<BootRecord> {
        let registry = &self.registry;
        let gateway = self.tenant.gateway();
        Ok(BootRecord {
            pal: self.id(),
            name: self.record.name.clone(),
            owner_sign: self.record.owner_sign,
            owner_unlock: self.record.owner_unlock,
            host: registry.keys.public(),
            prices: registry.prices.clone().into_bytes(),
            network_key: registry.keys.network(self.id())?,
            link: GuestLink {
                v4: self.record.public_v4,
                v6: self.record.public_v6,
                gateway_v4: gateway.gateway_v4,
                gateway_v6: self.record.public_v6.map(|_| gateway.gateway_v6),
                gateway_mac: gateway.gateway_mac,
                listen_port: WIREGUARD_PORT,
                endpoint: registry.endpoint(self.record.public_v4),
                resolvers: registry.config.resolvers.clone(),
            },
            unix_ms: unix_ms(),
            entropy: crate::keys::random()?,
            idle_s: registry.config.idle_s,
            generation: self.record.generation,
        })
    }

    /// The guest's network is up.
    pub(super) fn network_up(&mut self) {
        match self.lead_packets_in() {
            Ok(()) => self.send_receipts(),
            Err(error) => drop(self.failed("cannot lead packets to the machine", &error, Event::Died)),
        }
    }

    /// Hands over what waits and switches the route.
    fn lead_packets_in(&mut self) -> anyhow::Result<()> {
        self.open_doorbell()?;
        match &self.doorbell {
            Some(bell) => bell.hand_over(&self.tenant)?,
            None => self.tenant.switch().to_tap()?,
        }
        if let Some(rang_at) = self.rang_at.take() {
            self.last_wake_ms = Some(rang_at.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(())
    }

    // Sleeping.

    pub(super) fn quiesce(&mut self) -> Option<Event> {
        if let Some(bell) = &self.doorbell
            && let Err(error) = bell.listen(&self.tenant)
        {
            return self.failed("cannot lead packets to the doorbell", &error, Event::QuiesceFailed);
        }
        if self.quiescing == Quiescing::Skipped {
            return Some(Event::Quiesced);
        }
        self.wait_for(QUIESCE, Event::QuiesceFailed);
        self.ask_for_time_asleep();
        self.tell(&ToGuest::Quiesce);
        None
    }

    pub(super) fn save_memory(&mut self) -> Option<Event> {
        if let Err(error) = self.forget_snapshot() {
            return self.failed("cannot make room for its memory", &error, Event::SaveFailed);
        }
        let Some(machine) = self.machine.as_ref() else { return Some(Event::Died) };
        let generation = self.record.generation;
        let binding = self.binding(generation);
        let saved = machine.snapshot(&self.registry.keys.snapshot, &binding, &self.snapshot_folder());
        match saved {
            Ok(snapshot) => {
                tracing::info!(pal = %self.id().short(), ?snapshot, "memory saved");
                self.record.snapshot = Some(generation);
                self.machine_gone();
                self.quiescing = Quiescing::Full;
                Some(Event::Saved)
            }
            Err(error) => self.failed("cannot save its memory", &error.into(), Event::SaveFailed),
        }
    }

    pub(super) fn resume(&mut self) -> Option<Event> {
        self.wait_for(WAKE, Event::WakeFailed);
        let resumed = self.machine.as_ref().map(|machine| machine.resume());
        if let Some(Err(error)) = resumed {
            return self.failed("cannot let the machine go on", &error.into(), Event::WakeFailed);
        }
        self.tell(&ToGuest::Resume);
        None
    }

    // Waking.

    pub(super) fn restore(&mut self, reason: WakeReason) -> Option<Event> {
        self.wait_for(WAKE, Event::WakeFailed);
        if let Some(bell) = &self.doorbell {
            bell.hold();
        }
        match self.restore_machine(reason) {
            Ok(()) => None,
            Err(error) => {
                let notice =
                    "the memory image could not be used; the pal was booted cold and needs unlocking";
                self.record.notice = Some(notice.into());
                self.failed("cannot restore its machine", &error, Event::WakeFailed)
            }
        }
    }

    fn restore_machine(&mut self, reason: WakeReason) -> anyhow::Result<()> {
        let generation = self.record.snapshot.context("there is no memory image")?;
        let registry = self.registry.clone();
        let folder = self.snapshot_folder();
        let binding = self.binding(generation);
        let paused = registry.engine.restore(&self.spec(), &folder, &registry.keys.snapshot, &binding)?;
        tracing::debug!(phases = ?paused.phases, "restored");
        self.record.machine = Some(paused.handle().clone());
        self.record.generation = generation + 1;
        self.record.snapshot = None;
        self.record.wakes += 1;
        self.record.last_wake = Some(reason);
        // The image is used up before the machine goes on, whatever happens then.
        registry.store.put(&self.record, "memory image used", unix_ms())?;
        // Opened before the machine goes on, so that the guest sees no change of its port.
        self.open_port(paused.channel().map_err(Into::into));
        self.machine = Some(paused.cont()?);
        tracing::debug!("the machine goes on");
        // WireGuard stood before the pause and has no session: it can take what waits at once, before init
        // sets clock and randomness. The image is used this once, so no random number comes twice.
        self.lead_packets_in()?;
        let after = if reason == WakeReason::Packet { WOKE_AFTER } else { Duration::ZERO };
        self.woke_due = Some((Instant::now() + after, reason));
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
    }

    /// Tells a restored guest what it slept through. Whoever rang is answered first: the guest has one
    /// processor, and a fresh one that is translated is slow at everything it does for the first time.
    pub(super) fn tell_woke(&mut self, reason: WakeReason) {
        let generation = self.record.generation;
        match crate::keys::random() {
            Ok(entropy) => {
                // A guest that cannot be told does not say that it is awake either, and is booted cold in time.
                self.tell(&ToGuest::Woke(Woke { unix_ms: unix_ms(), entropy, generation, reason }));
                self.send_receipts();
                self.woken_to_pay(reason);
            }
            Err(error) => drop(self.failed("cannot wake its guest", &error.into(), Event::WakeFailed)),
        }
    }

    // The end.

    /// Forgets a machine that is gone, and what only it had.
    pub(super) fn machine_gone(&mut self) {
        self.port = None;
        self.woke_due = None;
        self.machine = None;
        self.data = None;
        self.record.machine = None;
    }

    pub(super) fn kill(&mut self) -> Option<Event> {
        if let Some(machine) = &self.machine
            && let Err(error) = machine.kill()
        {
            tracing::error!(pal = %self.id().short(), %error, "cannot end its machine");
        }
        self.machine_gone();
        None
    }

    pub(super) fn remove(&mut self) -> Option<Event> {
        self.doorbell = None;
        let removed = take_down_network(&self.registry, &self.record)
            .and_then(|()| Ok(self.registry.keys.forget(self.id())?))
            .and_then(|()| remove_folder(&self.folder()))
            .and_then(|()| Ok(self.registry.store.remove(self.id())?));
        if let Err(error) = removed {
            tracing::error!(pal = %self.id().short(), error = %format!("{error:#}"), "something of it is left behind");
        }
        None
    }
}

fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Makes a sparse file of this size, unless there is one.
fn make_disk(path: &Path, size: u64) -> anyhow::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let new = path.with_extension("new");
    let make = || {
        let file = File::create(&new)?;
        file.set_len(size)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    make().with_context(|| format!("cannot make the disk {}", path.display()))
}
