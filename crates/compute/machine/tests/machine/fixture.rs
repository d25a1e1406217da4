//! A machine to test with, in a folder and control group of its own that are gone afterwards.

use cloudpal_core::Secret;
use cloudpal_image::{BuildRequest, Image, build};
use cloudpal_machine::{
    Binding, Engine, Helper, Hypervisor, MachineSpec, QEMU, RunAs, Running, clear_leftovers,
};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const HELPER: &str = "machine-helper";
pub const AGENT: &str = "agent-that-will-be-killed";
pub const CGROUP: &str = "cloudpal-machine-tests";
pub const USER: RunAs = RunAs { uid: 64_123, gid: 64_123 };
/// A guest boots in 3 s on a quiet machine; this only ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Fixture {
    pub folder: tempfile::TempDir,
    pub engine: Engine,
    pub spec: MachineSpec,
    pub key: Secret<32>,
    pub binding: Binding,
}

impl Fixture {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::Builder::new().prefix("cpm").tempdir_in("/tmp").unwrap();
        let name = format!("cpmt{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let spec = spec(&name, &folder.path().join("run"));
        let binding = Binding { image: image().digest.clone(), pal: "00".repeat(16), generation: 7 };
        Fixture { folder, engine: engine(), spec, key: Secret::new([42; 32]), binding }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn boot(&self) -> (Running, Guest) {
        let machine = self.engine.boot(&self.spec).unwrap();
        let guest = Guest::new(machine.channel().unwrap());
        (machine, guest)
    }
}

/// Clears the machines of runs that were killed before they could: their groups would be in the way for ever.
pub fn clear_killed_runs() {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let groups = std::iter::once(root.to_owned())
        .chain(hierarchies)
        .flat_map(|hierarchy| std::fs::read_dir(hierarchy.join(CGROUP)));
    for name in groups.flatten().flatten().filter_map(|group| group.file_name().into_string().ok()) {
        let run = name.strip_prefix("cpmt").and_then(|rest| rest.split_once('-'));
        if run.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
            clear_leftovers(CGROUP, &name).unwrap();
        }
    }
}

impl Drop for Fixture {
    /// After a test that failed, too.
    fn drop(&mut self) {
        let _ = clear_leftovers(&self.spec.cgroup_parent, &self.spec.name);
    }
}

pub fn spec(name: &str, run_dir: &Path) -> MachineSpec {
    let image = image();
    MachineSpec {
        name: name.to_owned(),
        run_dir: run_dir.to_owned(),
        kernel: image.kernel.clone(),
        initrd: image.initrd.clone(),
        memory_mib: 128,
        cpus: 1,
        disks: Vec::new(),
        nic: None,
        netns: None,
        run_as: USER,
        cgroup_parent: CGROUP.to_owned(),
        cmdline: Vec::new(),
    }
}

pub fn engine() -> Engine {
    Engine::new(Hypervisor::QemuTcg, Path::new(QEMU), Helper::this_program(HELPER)).unwrap()
}

/// The guest's end of the conversation.
pub struct Guest {
    socket: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Guest {
    /// Waits until the guest is there.
    pub fn new(socket: UnixStream) -> Self {
        let mut guest = Guest::unasked(socket);
        let start = Instant::now();
        guest.socket.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
        // What is sent before the guest has opened its port is lost, so ask until it answers.
        for number in 0.. {
            assert!(start.elapsed() < PATIENCE, "the guest does not answer");
            guest.send(&format!("ping {number}"));
            let mut line = String::new();
            if guest.reader.read_line(&mut line).is_ok() && line.starts_with("pong") {
                break;
            }
        }
        guest.socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut rest = String::new();
        while guest.reader.read_line(&mut rest).is_ok() {}
        guest.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        guest
    }

    pub fn unasked(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Guest { reader: BufReader::new(socket.try_clone().unwrap()), socket }
    }

    pub fn send(&mut self, line: &str) {
        self.socket.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.hear()
    }
}

/// The test guest's image, built once a run.
pub fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let guest = folder.join("test-guest");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/main.rs");
        run(Command::new("rustc")
            .args([
                "--edition",
                "2024",
                "-C",
                "target-feature=+crt-static",
                "-C",
                "opt-level=2",
                "-C",
                "strip=symbols",
            ])
            .arg(source)
            .arg("-o")
            .arg(&guest));
        build(&BuildRequest::new(kernel_tree(folder), &guest, &guest, folder.join("test-image"))).unwrap()
    })
}

fn kernel_tree(folder: &Path) -> PathBuf {
    if let Some(tree) = std::env::var_os("CLOUDPAL_KERNEL_TREE") {
        return tree.into();
    }
    let tree = folder.join("kernel");
    if !tree.join("boot").exists() {
        let depends =
            Command::new("apt-cache").args(["depends", "linux-image-cloud-amd64"]).output().unwrap();
        let depends = String::from_utf8(depends.stdout).unwrap();
        let package = depends
            .split_whitespace()
            .find(|word| word.starts_with("linux-image-6"))
            .expect("a kernel package");
        run(Command::new("apt-get").args(["download", package]).current_dir(folder));
        let file = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
        let file =
            file.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).last().unwrap();
        run(Command::new("dpkg").arg("-x").arg(&file).arg(&tree));
        std::fs::remove_file(file).unwrap();
    }
    tree
}

pub fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?} failed");
}
