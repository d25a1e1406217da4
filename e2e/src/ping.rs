//! Stock `ping` inside the client's namespace.

use crate::inside::command;
use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Milliseconds until the first reply to one ping, as ping itself measures it.
pub fn once(namespace: &str, to: IpAddr, patience: Duration) -> Result<f64> {
    let seconds = patience.as_secs().max(1);
    let mut ping = command(namespace, &format!("ping -n -c 1 -W {seconds} {to}"));
    let out = ping.output().context("cannot start ping")?;
    let said = String::from_utf8_lossy(&out.stdout);
    time_ms(&said).with_context(|| format!("no reply from {to} in {seconds} s"))
}

/// Pings again and again until one is answered: for a pal that is being started.
pub fn until_answered(namespace: &str, to: IpAddr, patience: Duration) -> Result<()> {
    let since = std::time::Instant::now();
    while since.elapsed() < patience {
        if once(namespace, to, Duration::from_secs(1)).is_ok() {
            return Ok(());
        }
    }
    bail!("no reply from {to} in {patience:?}")
}

/// What a run of pings came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub sent: u64,
    pub received: u64,
}

impl Count {
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }
}

/// Pings five times a second until it is ended.
pub struct Pinger(Option<Child>);

impl Pinger {
    pub fn begin(namespace: &str, to: IpAddr) -> Result<Self> {
        let mut ping = command(namespace, &format!("ping -n -i 0.2 {to}"));
        let child = ping.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        Ok(Pinger(Some(child.context("cannot start ping")?)))
    }

    /// Ends it and counts. A last ping whose reply was still on its way is left out.
    pub fn end(mut self) -> Result<Count> {
        let child = self.0.take().context("the pinger ended before")?;
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).context("cannot ask ping for its count")?;
        let out = child.wait_with_output().context("lost track of ping")?;
        count(&String::from_utf8_lossy(&out.stdout)).context("ping gave no summary")
    }
}

impl Drop for Pinger {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn time_ms(said: &str) -> Option<f64> {
    let (_, after) = said.split_once(" time=")?;
    after.split_whitespace().next()?.parse().ok()
}

fn count(said: &str) -> Option<Count> {
    let line = said.lines().find(|line| line.contains("packets transmitted"))?;
    let sent: u64 = line.split_whitespace().next()?.parse().ok()?;
    let number = |line: &str| line.split_once("icmp_seq=")?.1.split_whitespace().next()?.parse::<u64>().ok();
    // Errors name a number too; only replies have a time. Doubled ones count once.
    let replies = said.lines().filter(|line| line.contains(" time=")).filter_map(number);
    let replied: BTreeSet<u64> = replies.collect();
    let counted = if replied.contains(&sent) { sent } else { sent.saturating_sub(1) };
    Some(Count { sent: counted, received: replied.len() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ping_says() {
        let said = "64 bytes from 100.64.0.1: icmp_seq=1 ttl=64 time=138 ms\n";
        assert_eq!(time_ms(said), Some(138.0));
        assert_eq!(time_ms("nothing"), None);
        let run = |replies: &[u64], sent: u64| {
            let reply = |n: &u64| format!("64 bytes from x: icmp_seq={n} ttl=64 time=1 ms\n");
            let lines: String = replies.iter().map(reply).collect();
            count(&format!("{lines}--- x ping statistics ---\n{sent} packets transmitted, ...\n"))
        };
        assert_eq!(run(&[1, 2, 4, 5], 5), Some(Count { sent: 5, received: 4 }));
        assert_eq!(run(&[1, 2, 2, 3], 4).map(|count| count.lost()), Some(0), "the fourth was on its way");
        assert_eq!(run(&[1, 2], 4).map(|count| count.lost()), Some(1));
        assert_eq!(count("nothing"), None);
    }
}
