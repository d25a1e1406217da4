//! `cloudpal-host check`: what this machine can do, what is missing, and what to do about it.

use crate::commands::image_dir;
use crate::config::Config;
use cloudpal_image::Image;
use nix::sys::statvfs::statvfs;
use serde::Serialize;
use std::fs;
use std::path::Path;

/// A host with less free disk than this cannot keep one sleeping pal safely, bytes.
const LEAST_DISK: u64 = 2 << 30;

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_do: Option<&'static str>,
}

/// Looks at everything and prints it; an error if something is missing.
pub fn check(state: &Path, json: bool) -> anyhow::Result<()> {
    let findings = [
        hypervisor(),
        device("/dev/net/tun", "TUN", "load the kernel module `tun`"),
        program("/usr/sbin/nft", "nftables", "install Debian's package nftables"),
        cgroups(),
        forwarding(),
        disk(state),
        settings(state),
        image(state),
    ];
    let bad = findings.iter().filter(|finding| !finding.ok).count();
    if json {
        println!("{}", serde_json::json!({ "ok": bad == 0, "findings": findings }));
    } else {
        for finding in &findings {
            let mark = if finding.ok { "ok     " } else { "missing" };
            println!("{mark} {:<12} {}", finding.what, finding.found);
            if let Some(to_do) = finding.to_do.filter(|_| !finding.ok) {
                println!("                     to do: {to_do}");
            }
        }
    }
    anyhow::ensure!(bad == 0, "{bad} of {} things are missing", findings.len());
    Ok(())
}

fn hypervisor() -> Finding {
    let to_do = Some("install Debian's package qemu-system-x86");
    match crate::serve::engine() {
        Ok((engine, choice)) => Finding {
            what: "hypervisor",
            ok: true,
            found: format!("{}. {}", engine.version(), choice.why),
            to_do,
        },
        Err(error) => Finding { what: "hypervisor", ok: false, found: format!("{error:#}"), to_do },
    }
}

fn device(path: &str, what: &'static str, to_do: &'static str) -> Finding {
    let opened = fs::OpenOptions::new().read(true).write(true).open(path);
    let found = opened.as_ref().map_or_else(|error| format!("{path}: {error}"), |_| path.to_owned());
    Finding { what, ok: opened.is_ok(), found, to_do: Some(to_do) }
}

fn program(path: &str, what: &'static str, to_do: &'static str) -> Finding {
    let ok = Path::new(path).exists();
    Finding { what, ok, found: path.to_owned(), to_do: Some(to_do) }
}

fn cgroups() -> Finding {
    let v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let v1 = Path::new("/sys/fs/cgroup/memory").exists();
    let found = match (v2.contains("memory"), v1) {
        (true, _) => "version 2",
        (false, true) => "version 1",
        (false, false) => "no memory controller",
    };
    let to_do = Some("mount cgroups; systemd does");
    Finding { what: "cgroups", ok: found != "no memory controller", found: found.into(), to_do }
}

fn forwarding() -> Finding {
    let on = |path| fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
    let (v4, v6) = (on("/proc/sys/net/ipv4/ip_forward"), on("/proc/sys/net/ipv6/conf/all/forwarding"));
    // With a named uplink namespace it is that one's business, so this never fails the check.
    let found = match (v4, v6) {
        (true, true) => "IPv4 and IPv6 are forwarded",
        (true, false) => "IPv4 is forwarded, IPv6 is not",
        (false, true) => "IPv6 is forwarded, IPv4 is not",
        (false, false) => "off in this namespace; pals need it in the one with the way out",
    };
    Finding { what: "forwarding", ok: true, found: found.into(), to_do: None }
}

fn disk(state: &Path) -> Finding {
    let folder = state.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let to_do = Some("free some space, or choose another --state");
    match statvfs(folder) {
        Ok(stat) => {
            let free = stat.blocks_available() * stat.fragment_size();
            let found = format!("{} GiB free at {}", free >> 30, folder.display());
            Finding { what: "disk", ok: free >= LEAST_DISK, found, to_do }
        }
        Err(error) => {
            Finding { what: "disk", ok: false, found: format!("{}: {error}", folder.display()), to_do }
        }
    }
}

fn settings(state: &Path) -> Finding {
    let to_do = Some("run `cloudpal-host init`");
    match Config::load(state) {
        Ok(config) => Finding { what: "settings", ok: true, found: config.name, to_do },
        Err(error) => Finding { what: "settings", ok: false, found: error.to_string(), to_do },
    }
}

fn image(state: &Path) -> Finding {
    let to_do = Some("run `cloudpal-host image build`");
    match Image::open(&image_dir(state)) {
        Ok(image) => {
            let found = format!("kernel {}, {}", image.kernel_version, &image.digest);
            Finding { what: "image", ok: true, found, to_do }
        }
        Err(error) => Finding { what: "image", ok: false, found: error.to_string(), to_do },
    }
}
