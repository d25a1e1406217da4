use crate::fixture::{self, AGENT, Fixture, Guest, HELPER, USER, run};
use cloudpal_machine::{
    Access, BootError, Disk, Engine, Handle, Helper, Hypervisor, Kvm, Nic, Offload, SnapshotError,
    clear_leftovers, probe,
};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Boots a machine, prints its handle and waits to be killed.
pub fn agent_that_will_be_killed() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let [name, run_dir] = arguments.as_slice() else { return ExitCode::from(2) };
    let machine = fixture::engine().boot(&fixture::spec(name, Path::new(run_dir))).unwrap();
    println!("{}", serde_json::to_string(machine.handle()).unwrap());
    std::thread::sleep(std::time::Duration::from_secs(600));
    ExitCode::FAILURE
}

pub fn the_machine_outlives_its_agent() {
    let fixture = Fixture::new();
    let mut agent = Command::new("/proc/self/exe")
        .arg(AGENT)
        .arg(&fixture.spec.name)
        .arg(&fixture.spec.run_dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(agent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let handle: Handle = serde_json::from_str(&line).unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    let machine = fixture.engine.adopt(&handle).unwrap();
    assert_eq!(machine.handle(), &handle);
    let mut guest = Guest::new(machine.channel().unwrap());
    assert_eq!(guest.ask("ping 3"), "pong 3");
    drop(guest);
    // What was adopted sleeps and wakes like any other.
    let dest = fixture.path("asleep");
    machine.snapshot(&fixture.key, &fixture.binding, &dest).unwrap();
    let paused = fixture.engine.restore(&fixture.spec, &dest, &fixture.key, &fixture.binding).unwrap();
    let mut guest = Guest::unasked(paused.channel().unwrap());
    guest.send("ping 4");
    let machine = paused.cont().unwrap();
    assert_eq!(guest.hear(), "pong 4");
    // The old handle means a process that is gone.
    assert!(fixture.engine.adopt(&handle).is_err());
    let fresh = machine.handle().clone();
    let mut later = fresh.clone();
    later.start_time += 1;
    assert!(fixture.engine.adopt(&later).is_err());
    let mut elsewhen = fresh;
    elsewhen.boot_id = "another boot".into();
    assert!(fixture.engine.adopt(&elsewhen).is_err());
    machine.kill().unwrap();
}

pub fn a_full_disk_lets_it_run_on() {
    let fixture = Fixture::new();
    let small = fixture.path("small");
    fs::create_dir(&small).unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "cloudpal-test"]).arg(&small));
    let (machine, mut guest) = fixture.boot();
    assert_eq!(guest.ask("keep this"), "ok");
    let result = machine.snapshot(&fixture.key, &fixture.binding, &small.join("asleep"));
    let left = fs::read_dir(&small).unwrap().count();
    run(Command::new("umount").arg(&small));
    let error = result.unwrap_err();
    assert!(matches!(error, SnapshotError::DiskFull { .. }), "{error:?}");
    assert!(error.to_string().contains("free some space"), "{error}");
    assert_eq!(left, 0, "half a snapshot is left");
    assert_eq!(guest.ask("kept"), "kept this");
    // And it can still sleep where there is room.
    drop(guest);
    machine.snapshot(&fixture.key, &fixture.binding, &fixture.path("asleep")).unwrap();
}

pub fn absent_programs_and_wrong_specs_are_explained() {
    let helper = || Helper::this_program(HELPER);
    let error = Engine::new(Hypervisor::QemuTcg, Path::new("/none/qemu"), helper()).unwrap_err();
    assert!(
        matches!(error, BootError::NotInstalled(_)) && error.to_string().contains("qemu-system-x86"),
        "{error}"
    );
    let mut fixture = Fixture::new();
    fixture.spec.nic = Some(Nic { tap: "no-such-tap".into(), mac: [2, 0, 0, 0, 0, 1], offload: Offload::On });
    fixture.spec.netns = None;
    let error = fixture.engine.boot(&fixture.spec).unwrap_err();
    assert!(matches!(&error, BootError::Tap { said, .. } if said.contains("no-such-tap")), "{error}");
    fixture.spec.nic = None;
    fixture.spec.disks =
        vec![Disk { path: "/none/disk".into(), serial: "data".into(), access: Access::ReadWrite }];
    let error = fixture.engine.boot(&fixture.spec).unwrap_err();
    assert!(error.to_string().contains("/none/disk"), "{error}");
    fixture.spec.disks.clear();
    fixture.spec.run_as.uid = 0;
    let error = fixture.engine.boot(&fixture.spec).unwrap_err();
    assert!(matches!(error, BootError::Spec(_)), "{error}");
}

pub fn no_machine_runs_twice() {
    let fixture = Fixture::new();
    let (machine, mut guest) = fixture.boot();
    let error = fixture.engine.boot(&fixture.spec).unwrap_err();
    assert!(
        matches!(&error, BootError::Busy { processes, .. } if processes == &[machine.handle().pid]),
        "{error}"
    );
    assert_eq!(guest.ask("ping 1"), "pong 1", "the first one is left alone");
    // As if its handle had been lost.
    clear_leftovers(&fixture.spec.cgroup_parent, &fixture.spec.name).unwrap();
    assert!(machine.exited());
    let (machine, _guest) = fixture.boot();
    machine.kill().unwrap();
}

pub fn the_hypervisor_has_no_rights() {
    let fixture = Fixture::new();
    let (machine, _guest) = fixture.boot();
    let status = fs::read_to_string(format!("/proc/{}/status", machine.handle().pid)).unwrap();
    let field = |name: &str| {
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let uid = USER.uid.to_string();
    assert_eq!(field("Uid:"), [uid.as_str(); 4]);
    assert!(field("Groups:").is_empty());
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), (vec!["1".to_owned()], vec!["2".to_owned()]));
    machine.kill().unwrap();
}

pub fn a_flooded_console_stays_small() {
    let fixture = Fixture::new();
    let (machine, mut guest) = fixture.boot();
    let before = machine.stats().memory_bytes;
    assert_eq!(guest.ask("flood"), "ok");
    let console = machine.console().unwrap();
    assert!(console.contains("console line"), "the flood came through");
    assert!(console.len() <= 65_536, "{}", console.len());
    let grown = machine.stats().memory_bytes.saturating_sub(before);
    assert!(grown < 32 << 20, "memory grew by {grown} bytes");
    machine.kill().unwrap();
}

pub fn disks_and_tap_reach_the_guest() {
    let mut fixture = Fixture::new();
    let netns = fixture.spec.name.clone();
    let ip = |arguments: &str| run(Command::new("ip").args(arguments.split(' ')));
    ip(&format!("netns add {netns}"));
    ip(&format!("-n {netns} tuntap add tap0 mode tap user {}", USER.uid));
    ip(&format!("-n {netns} link set tap0 up"));
    for serial in ["network", "data"] {
        let path = fixture.path(serial);
        fs::File::create(&path).unwrap().set_len(16 << 20).unwrap();
        fixture.spec.disks.push(Disk { path, serial: serial.into(), access: Access::ReadWrite });
    }
    fixture.spec.netns = Some(format!("/run/netns/{netns}").into());
    fixture.spec.nic = Some(Nic { tap: "tap0".into(), mac: [2, 0, 0, 0, 0, 1], offload: Offload::Off });
    let carrier = || {
        let output = Command::new("ip").args(["-n", &netns, "-o", "link", "show", "tap0"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().contains("LOWER_UP")
    };
    assert!(!carrier(), "nobody holds the tap yet");
    fixture.spec.run_as.uid += 1;
    let error = fixture.engine.boot(&fixture.spec).unwrap_err();
    let refused =
        matches!(&error, BootError::Tap { source, .. } if source.raw_os_error() == Some(libc::EPERM));
    assert!(refused, "another user's tap: {error}");
    fixture.spec.run_as = USER;
    let (machine, mut guest) = fixture.boot();
    assert_eq!(guest.ask("disks"), "disks data,network");
    assert!(carrier());
    assert!(guest.ask("cmdline").contains("init_on_free=1"));
    let console = machine.console().unwrap();
    assert!(
        console.contains("guest is up") && !console.contains("module "),
        "not every module loads: {console}"
    );
    drop(guest);
    let dest = fixture.path("asleep");
    machine.snapshot(&fixture.key, &fixture.binding, &dest).unwrap();
    assert!(!carrier(), "the tap is let go while it sleeps");
    let paused = fixture.engine.restore(&fixture.spec, &dest, &fixture.key, &fixture.binding).unwrap();
    let mut guest = Guest::unasked(paused.channel().unwrap());
    guest.send("disks");
    let machine = paused.cont().unwrap();
    assert_eq!(guest.hear(), "disks data,network");
    assert!(carrier());
    machine.kill().unwrap();
    ip(&format!("netns del {netns}"));
}

pub fn kvm_is_judged_by_running_it() {
    let kvm = probe(&Helper::this_program(HELPER));
    println!("{kvm:?}");
    let file = Path::new("/dev/kvm").exists();
    assert!(file || matches!(kvm, Kvm::Absent { .. }), "no device file, and yet {kvm:?}");
    let engine = fixture::engine();
    assert!(engine.version().contains("QEMU"), "{}", engine.version());
}
