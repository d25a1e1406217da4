//! The steps of a day, each told once and used by demo and test alike.

use crate::asleep::{self, footprint};
use crate::capture::{Capture, answered_initiations, handshake_ms};
use crate::client::Client;
use crate::flood::{Numbered, junk, replay};
use crate::inside::inside;
use crate::internet::{self, Internet};
use crate::numbers::{Random, tenths};
use crate::page::{Answer, Ask, request, resolve};
use crate::ping::{self, Pinger};
use crate::report::Report;
use crate::stage::{Setting, Stage};
use crate::vault::Vault;
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// A pal that must be started cold may take this long on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Everything a day needs, and what it found so far.
pub struct Day {
    pub report: Report,
    pub random: Random,
    /// Written into the pal's data; looked for where it must not be.
    pub marker: String,
    pub client: Client,
    pub setting: Setting,
    // Dropped after the client, which lives in its namespace.
    _internet: Internet,
    pub stage: Stage,
}

impl Day {
    /// Brings up the stage, and the client with the printed config.
    pub fn begin(what: &str, seed: u64, setting: Setting) -> Result<Self> {
        eprintln!("==> bringing everything up (seed {seed})");
        let stage = Stage::set(&setting)?;
        let mut random = Random::new(seed);
        let mut letters = [0; 20];
        random.fill(&mut letters);
        let up = &stage.up;
        let internet = Internet::open(&up.namespaces.internet.name)?;
        let client = Client::start(&up.namespaces.client, &up.pal.wireguard.conf, stage.dir())?;
        let mut report = Report::new(what, seed);
        report.set("commit", up.commit.clone());
        report.set("machine", up.machine.clone());
        report.set("time_scale", up.time_scale.clone());
        let marker = format!("marker-{}", hex::encode(letters));
        Ok(Day { report, random, marker, client, setting, _internet: internet, stage })
    }

    fn hub(&self) -> IpAddr {
        self.client.hub()
    }

    fn page_host(&self) -> String {
        format!("home.{}.internal", self.stage.up.pal.name)
    }

    /// Asks the pal's page over the tunnel.
    pub fn page(&self, method: &str, path: &str, body: &str) -> Result<Answer> {
        let (to, host) = (SocketAddr::new(self.hub(), 80), self.page_host());
        inside(self.client.namespace(), || request(to, &host, Ask::new(method, path, body)))
    }

    fn wakes(&self) -> Result<u64> {
        Ok(self.stage.seen()?.wakes)
    }

    /// First contact: handshake, names, page, and the internet through the pal.
    pub fn connect(&mut self) -> Result<()> {
        eprintln!("==> a stock WireGuard client connects");
        ping::until_answered(self.client.namespace(), self.hub(), PATIENCE)?;
        let port = self.stage.up.pal.wireguard.endpoint.port();
        let capture = Capture::begin(self.client.namespace(), port)?;
        self.client.forget_session()?;
        let answered = ping::once(self.client.namespace(), self.hub(), Duration::from_secs(10));
        let passed = capture.end();
        answered?;
        self.report.set("client", self.client.version()?);
        if let Some(took) = handshake_ms(&passed) {
            self.report.set("handshake_ms", tenths(took));
        }
        self.report.check(
            "handshake",
            handshake_ms(&passed).is_some(),
            format!("{} datagrams", passed.len()),
        );

        let (resolver, name) = (self.hub(), self.page_host());
        let address = inside(self.client.namespace(), || resolve(resolver, &name))?;
        self.report.set("dns", address.to_string());
        self.report.check("name of the page", address == self.stage.up.pal.overlay_v4, address);

        let page = self.page("GET", "/", "")?;
        self.report.set("page_status", page.status);
        self.report.check("page", page.status == 200, page.status);

        let server = SocketAddr::new(self.stage.up.namespaces.internet.v4.into(), internet::PORT);
        let seen = inside(self.client.namespace(), || {
            request(server, "internet.example", Ask::new("GET", "/", ""))
        })?;
        self.report.set("exit_source", seen.body.clone());
        let pal = self.stage.up.pal.public_address.to_string();
        self.report.check("the internet sees the pal's address", seen.body == pal, seen.body);
        Ok(())
    }

    /// Writes the marker through the page, as the person would.
    pub fn write_marker(&mut self) -> Result<()> {
        self.wait_unlocked()?;
        let wrote = self.page("PUT", NOTE, &self.marker)?;
        ensure!(
            (200..300).contains(&wrote.status),
            "the page refused the note: {} {}",
            wrote.status,
            wrote.body
        );
        self.check_marker("a note written through the page")
    }

    /// Whether the marker is in the pal's data, as the page shows it.
    pub fn check_marker(&mut self, what: &'static str) -> Result<()> {
        let read = self.page("GET", NOTE, "")?;
        let whole = read.status == 200 && read.body.contains(&self.marker);
        self.report.check(what, whole, format!("status {}, {} bytes", read.status, read.body.len()));
        Ok(())
    }

    /// Waits until the person's agent has opened the pal's data: the page then lists it.
    pub fn wait_unlocked(&self) -> Result<()> {
        let since = Instant::now();
        loop {
            match self.page("GET", "/data/", "") {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => {
                    ensure!(since.elapsed() < PATIENCE, "nobody unlocked the pal's data: {}", answer.body)
                }
                Err(error) => ensure!(since.elapsed() < PATIENCE, "the page does not answer: {error:#}"),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Leaves the pal alone until it sleeps by its own rule.
    pub fn fall_asleep(&mut self) -> Result<()> {
        let rule = u64::from(self.setting.idle_s);
        eprintln!("==> nobody uses the pal: it sleeps by itself after {rule} s");
        let since = Instant::now();
        self.stage.wait_for("asleep", Duration::from_secs(rule + 90))?;
        let waited = since.elapsed().as_secs();
        self.report.set("slept_after_s", waited);
        // The last use lies some seconds before this step.
        self.report.check("slept by the rule and not before", waited + 30 >= rule, format!("{waited} s"));
        Ok(())
    }

    /// Wakes the pal by a packet of a client that has no session, and gives the first reply's time.
    pub fn wake_by_packet(&mut self) -> Result<f64> {
        self.client.restart()?;
        ping::once(self.client.namespace(), self.hub(), Duration::from_secs(30))
    }

    /// What a sleeping pal leaves at its host: nothing that runs, nothing that can be read. The control is
    /// the same pal put to sleep without quiescing.
    pub fn asleep(&mut self, vault: &Vault) -> Result<()> {
        let pal = self.stage.up.pal.id;
        eprintln!("==> control: the same search after a sleep without quiescing");
        let running = footprint(&self.stage)?;
        self.stage.host(&["sleep", &pal.to_string(), "--without-quiescing"])?;
        let control = asleep::search(&self.stage, vault, &self.marker)?;
        self.wake_by_packet()?;
        self.wait_unlocked()?;
        self.check_marker("data whole after that")?;
        self.stage.sleep_now()?;
        eprintln!("==> what is left of a sleeping pal");
        let left = footprint(&self.stage)?;
        let hits = asleep::search(&self.stage, vault, &self.marker)?;
        self.report.set(
            "asleep",
            json!({
                "machine_processes": left.processes,
                "memory_charged_bytes": left.charged_bytes,
                "cgroups": left.cgroups,
                "marker_hits": hits.all(),
                "control_hits": control.all(),
                "control_processes": running.processes,
                "control_memory_charged_bytes": running.charged_bytes,
            }),
        );
        self.report.check(
            "no machine while asleep",
            left.processes == 0 && running.processes > 0,
            format!("{left:?}"),
        );
        let nothing = left.charged_bytes == 0 && left.cgroups == 0 && running.charged_bytes > 0;
        self.report.check(
            "no memory charged while asleep",
            nothing,
            format!("awake {}", running.charged_bytes),
        );
        self.report.check("no secret can be found", hits.all() == 0, hits.told());
        self.report.check(
            "the search finds them without quiescing",
            control.in_memory > 0,
            control.in_memory,
        );
        Ok(())
    }

    /// 1,000 numbered datagrams at 200 a second, begun while the pal sleeps.
    pub fn count_across_a_wake(&mut self) -> Result<u64> {
        eprintln!("==> 1,000 numbered datagrams, begun while it sleeps");
        self.stage.sleep_now()?;
        self.client.restart()?;
        let mut run = [0; 8];
        self.random.fill(&mut run);
        let numbered = Numbered { run, count: 1000, per_s: 200 };
        let hub = self.hub();
        inside(self.client.namespace(), || numbered.send(hub))?;
        let since = Instant::now();
        loop {
            let count = self.page("GET", &format!("/api/echo?run={}", numbered.name()), "")?;
            let count: Value = serde_json::from_str(&count.body).unwrap_or_default();
            let distinct = count["distinct"].as_u64().unwrap_or(0);
            // The page may overtake the last datagrams.
            if distinct >= numbered.count || since.elapsed() > Duration::from_secs(5) {
                let lost = numbered.count.saturating_sub(distinct);
                self.report.check(
                    "datagrams lost across a wake",
                    lost == 0,
                    format!("{lost} of {}: {count}", numbered.count),
                );
                return Ok(lost);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Junk and replays while the pal sleeps, and one genuine initiation as the control.
    pub fn scans(&mut self, junk_count: u32, replays: usize) -> Result<()> {
        eprintln!("==> {junk_count} junk datagrams and {replays} replays while it sleeps");
        let endpoint = self.stage.up.pal.wireguard.endpoint;
        let captured = self.capture_initiations(endpoint.port(), 20)?;
        self.stage.sleep_now()?;
        self.client.stop();
        let before = self.wakes()?;
        let random = &mut self.random;
        let (sent_junk, sent_replays) = inside(&self.stage.up.namespaces.client.name, || {
            Ok((junk(endpoint, junk_count, random)?, replay(endpoint, &captured, replays, random)?))
        })?;
        std::thread::sleep(Duration::from_secs(3));
        let seen = self.stage.seen()?;
        let wakes = seen.wakes - before;
        self.wake_by_packet()?;
        let control = self.wakes()? - before - wakes;
        let sent = u64::from(sent_junk) + sent_replays as u64;
        self.report.set(
            "scans",
            json!({
                "sent": sent, "junk": sent_junk, "replays": sent_replays, "captured": captured.len(),
                "wakes": wakes, "control_wakes": control, "doorbell": self.stage.operated()?.doorbell,
            }),
        );
        let all = sent == u64::from(junk_count) + replays as u64;
        self.report.check("junk and replays wake nobody", wakes == 0 && all && seen.state == "asleep", wakes);
        self.report.check("a genuine initiation wakes it once", control == 1, control);
        Ok(())
    }

    /// Genuine initiations, each answered by the pal.
    fn capture_initiations(&self, port: u16, wanted: usize) -> Result<Vec<Vec<u8>>> {
        let capture = Capture::begin(self.client.namespace(), port)?;
        for _ in 0..wanted {
            self.client.forget_session()?;
            ping::once(self.client.namespace(), self.hub(), Duration::from_secs(10))?;
        }
        let captured = answered_initiations(&capture.end());
        ensure!(captured.len() >= wanted, "only {} of {wanted} handshakes were seen", captured.len());
        Ok(captured)
    }

    /// `kill -9` of the host's agent while a device pings.
    pub fn adopt(&mut self) -> Result<()> {
        eprintln!("==> kill -9 of the host's agent");
        let before = self.stage.operated()?;
        ensure!(before.machine_pid.is_some(), "the pal is not awake: {before:?}");
        let pinger = Pinger::begin(self.client.namespace(), self.hub())?;
        std::thread::sleep(Duration::from_secs(1));
        let agent = self.stage.up.host.pid;
        kill_9(agent)?;
        std::thread::sleep(Duration::from_secs(1));
        self.stage.mend()?;
        self.stage.wait_for("awake", PATIENCE)?;
        std::thread::sleep(Duration::from_secs(1));
        let pings = pinger.end()?;
        let after = self.stage.operated()?;
        let same = (before.machine_pid, before.machine_start) == (after.machine_pid, after.machine_start);
        let wakes = self.wakes()?;
        self.stage.sleep_now()?;
        let woke = self.wake_by_packet().is_ok() && self.wakes()? == wakes + 1;
        self.report.set(
            "adopted",
            json!({
                "same_process": same, "pings_sent": pings.sent, "pings_lost": pings.lost(), "slept_and_woke": woke,
            }),
        );
        self.report.check("another agent runs", self.stage.up.host.pid != agent, self.stage.up.host.pid);
        self.report.check("the same machine is adopted", same, format!("{:?}", after.machine_pid));
        self.report.check(
            "no ping lost without the agent",
            pings.lost() == 0 && pings.sent > 5,
            format!("{pings:?}"),
        );
        self.report.check("an adopted pal sleeps and wakes", woke, woke);
        Ok(())
    }

    /// `kill -9` of the machine: it boots cold by itself, with its data whole.
    pub fn boot_cold(&mut self) -> Result<()> {
        eprintln!("==> kill -9 of the machine");
        let before = self.stage.operated()?;
        let start = Instant::now();
        kill_9(before.machine_pid.context("the pal has no machine to kill")?)?;
        let took = loop {
            let now = self.stage.operated()?;
            if now.info.boots > before.info.boots && now.info.state == "awake" {
                break start.elapsed();
            }
            ensure!(start.elapsed() < PATIENCE, "the pal did not boot again: {now:?}");
            std::thread::sleep(Duration::from_millis(20));
        };
        self.report.set("cold_boot_ms", took.as_millis() as u64);
        self.client.forget_session()?;
        ping::until_answered(self.client.namespace(), self.hub(), PATIENCE)?;
        self.wait_unlocked()?;
        self.check_marker("data whole after a cold boot")
    }

    /// All credit is somewhere: none was made, none was lost.
    pub fn settle(&mut self, bought_cpm: u64) -> Result<()> {
        let since = Instant::now();
        let bought = bought_cpm * 1000;
        let credit = loop {
            let credit = self.stage.credit()?;
            // A ticket on its way from pal to host is with neither for a moment.
            if credit.spent_milli + credit.left_milli == bought || since.elapsed() > Duration::from_secs(10) {
                break credit;
            }
            std::thread::sleep(Duration::from_millis(300));
        };
        let cpm = |milli: u64| milli as f64 / 1000.0;
        let (spent, left) = (cpm(credit.spent_milli), cpm(credit.left_milli));
        self.report
            .set("credit", json!({ "bought": bought_cpm, "spent": spent, "left": left, "unit": "cpm" }));
        let conserved = credit.spent_milli + credit.left_milli == bought;
        self.report.check(
            "credit bought = spent + left",
            conserved,
            format!("{bought_cpm} = {spent} + {left}"),
        );
        self.report.check("the pal consumed credit", credit.spent_milli > 0, spent);
        let receipts = self.stage.cloudpal(&["receipts", "--verify"])?;
        self.report.check(
            "receipts signed, chained, acknowledged",
            receipts_hold(&receipts),
            receipts["receipts"].clone(),
        );
        Ok(())
    }
}

/// A file among the pal's data.
const NOTE: &str = "/data/first-day.txt";

fn receipts_hold(receipts: &Value) -> bool {
    receipts["verified"] == true && receipts["receipts"].as_u64().is_some_and(|count| count > 0)
}

/// Ends a process without asking it.
pub fn kill_9(pid: u32) -> Result<()> {
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).with_context(|| format!("cannot kill process {pid}"))
}
