use crate::fixture::{Fixture, Guest};
use cloudpal_core::Secret;
use cloudpal_machine::{Binding, RestoreError};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub fn wakes_with_its_memory() {
    let mut fixture = Fixture::new();
    let (mut machine, mut guest) = fixture.boot();
    assert_eq!(guest.ask("ping 1"), "pong 1");
    assert_eq!(guest.ask("keep the first thing"), "ok");
    assert_eq!(guest.ask("fill 24"), "ok");
    let sum = guest.ask("sum");
    for life in 0..3 {
        let dest = fixture.path(&format!("asleep-{life}"));
        drop(guest);
        machine.snapshot(&fixture.key, &fixture.binding, &dest).unwrap();
        let paused = fixture.engine.restore(&fixture.spec, &dest, &fixture.key, &fixture.binding).unwrap();
        assert_eq!(paused.handle().name, fixture.spec.name);
        // What is queued before it goes on is the first thing it reads.
        guest = Guest::unasked(paused.channel().unwrap());
        guest.send("kept");
        fs::remove_dir_all(&dest).unwrap();
        machine = paused.cont().unwrap();
        assert!(machine.is_running().unwrap());
        assert_eq!(guest.hear(), "kept the first thing");
        assert_eq!(guest.ask("sum"), sum, "memory changed in sleep {life}");
        let stats = machine.stats();
        assert!(stats.cpu_us > 0 && stats.memory_bytes > 24 << 20, "{stats:?}");
        fixture.binding.generation += 1;
    }
    machine.kill().unwrap();
    assert!(machine.exited());
}

pub fn leaves_nothing_behind() {
    let fixture = Fixture::new();
    let (machine, guest) = fixture.boot();
    let pid = machine.handle().pid;
    let cgroups = || {
        let parents = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
        let groups =
            parents.map(|entry| entry.path().join(&fixture.spec.cgroup_parent).join(&fixture.spec.name));
        let own = Path::new("/sys/fs/cgroup").join(&fixture.spec.cgroup_parent).join(&fixture.spec.name);
        groups.chain([own]).filter(|group| group.exists()).count()
    };
    let process = format!("/proc/{pid}");
    let sockets = || fs::read_dir(&fixture.spec.run_dir).unwrap().count();
    assert!(
        cgroups() > 0 && sockets() == 2 && Path::new(&process).exists(),
        "the control finds what it looks for"
    );
    drop(guest);
    machine.snapshot(&fixture.key, &fixture.binding, &fixture.path("asleep")).unwrap();
    assert!(!Path::new(&process).exists(), "process {pid} is left");
    assert_eq!((cgroups(), sockets()), (0, 0));
    assert!(machine.exited());
    let mine =
        fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    assert_eq!(
        mine.filter(|target| target.to_string_lossy().contains("guest-memory")).count(),
        0,
        "memory is still held"
    );
}

pub fn a_secret_is_found_in_the_decrypted_image_only() {
    let fixture = Fixture::new();
    let (machine, mut guest) = fixture.boot();
    let marker = "marker-5f1c0a77-only-in-memory";
    assert_eq!(guest.ask(&format!("keep {marker}")), "ok");
    drop(guest);
    let dest = fixture.path("asleep");
    machine.snapshot(&fixture.key, &fixture.binding, &dest).unwrap();
    let search = |key: &Secret<32>| {
        fixture.engine.search(&fixture.spec, &dest, key, &fixture.binding, &[marker.as_bytes()])
    };
    assert!(search(&fixture.key).unwrap()[0] > 0, "the control finds the marker");
    assert!(matches!(search(&Secret::new([1; 32])), Err(RestoreError::Refused { .. })));
    for part in ["memory", "state"] {
        let bytes = fs::read(dest.join(part)).unwrap();
        assert!(
            !bytes.windows(marker.len()).any(|window| window == marker.as_bytes()),
            "{part} shows the marker"
        );
    }
}

pub fn whatever_is_changed_is_refused() {
    let fixture = Fixture::new();
    let (machine, guest) = fixture.boot();
    drop(guest);
    let dest = fixture.path("asleep");
    machine.snapshot(&fixture.key, &fixture.binding, &dest).unwrap();
    let seed = 0x5EED_u64;
    println!("seed {seed:#x}");
    let mut state = seed;
    let mut random = |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let refused = |binding: &Binding, key: &Secret<32>, what: &str| match fixture.engine.restore(
        &fixture.spec,
        &dest,
        key,
        binding,
    ) {
        Err(RestoreError::Refused { .. }) => {}
        other => panic!("{what}: {other:?}"),
    };
    for part in ["memory", "state"] {
        let file = fs::OpenOptions::new().read(true).write(true).open(dest.join(part)).unwrap();
        let length = file.metadata().unwrap().len();
        for round in 0..4 {
            // The first one hits the head.
            let at = if round == 0 { random(100) } else { random(length) };
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
            refused(&fixture.binding, &fixture.key, &format!("{part} byte {at}"));
            file.write_all_at(&byte, at).unwrap();
        }
        let mut tail = vec![0; 50];
        file.read_exact_at(&mut tail, length - 50).unwrap();
        file.set_len(length - 50).unwrap();
        refused(&fixture.binding, &fixture.key, &format!("{part} cut"));
        file.write_all_at(&tail, length - 50).unwrap();
    }
    refused(&Binding { generation: 8, ..fixture.binding.clone() }, &fixture.key, "another life");
    refused(&Binding { image: "other".into(), ..fixture.binding.clone() }, &fixture.key, "another image");
    refused(&fixture.binding, &Secret::new([1; 32]), "another key");
    assert_eq!(fs::read_dir(&fixture.spec.run_dir).unwrap().count(), 0, "refusals leave sockets behind");
    // Put together as it was, it wakes: nothing above was refused for another reason.
    let paused = fixture.engine.restore(&fixture.spec, &dest, &fixture.key, &fixture.binding).unwrap();
    let mut guest = Guest::unasked(paused.channel().unwrap());
    guest.send("ping 5");
    let machine = paused.cont().unwrap();
    assert_eq!(guest.hear(), "pong 5");
    machine.kill().unwrap();
}
