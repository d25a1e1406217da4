//! What a host can see of a sleeping pal with its own keys: this program takes the host's part, reads the
//! host's key from its folder and opens the memory image as the host would.

use crate::stage::Stage;
use anyhow::{Context as _, Result, bail};
use cloudpal_core::Secret;
use cloudpal_image::Image;
use cloudpal_link::guest_mac;
use cloudpal_machine::{
    Access, Binding, Disk, Engine, Helper, Hypervisor, MachineSpec, Nic, Offload, QEMU, RestoreError, RunAs,
};
use std::fs;
use std::path::{Path, PathBuf};

/// Lives are counted; far more than one of our days has.
const MOST_LIVES: u64 = 400;

/// A host's folder, opened with the host's keys.
pub struct Vault {
    engine: Engine,
    key: Secret<32>,
    image: Image,
    /// The pal's folder at the host.
    folder: PathBuf,
    pal: String,
    spec: MachineSpec,
}

impl Vault {
    pub fn open(stage: &Stage, run_dir: PathBuf) -> Result<Self> {
        let host = &stage.up.host.state;
        let bytes = fs::read(host.join("keys/snapshot")).context("cannot read the host's key")?;
        let key = Secret::from_slice(&bytes).context("the host's key has not 32 bytes")?;
        let image = Image::open(&host.join("image"))?;
        let engine = Engine::new(Hypervisor::QemuTcg, Path::new(QEMU), Helper::this_program(crate::HELPER))?;
        let pal = stage.up.pal.id;
        let folder = host.join("pals").join(pal.to_string());
        let name = format!("cp-{}", pal.short());
        let user = stage.machine_user();
        let disk = |file: &str, serial: &str| Disk {
            path: folder.join(file),
            serial: serial.into(),
            access: Access::ReadWrite,
        };
        let spec = MachineSpec {
            run_dir,
            kernel: image.kernel.clone(),
            initrd: image.initrd.clone(),
            memory_mib: stage.operated()?.info.memory_mib,
            cpus: 1,
            disks: vec![disk("network.img", "network"), disk("data.img", "data")],
            nic: Some(Nic { tap: "tap0".into(), mac: guest_mac(&name), offload: Offload::On }),
            netns: None,
            run_as: RunAs { uid: user, gid: user },
            cgroup_parent: "cloudpal".into(),
            cmdline: vec![],
            name,
        };
        Ok(Vault { engine, key, image, folder, pal: pal.to_string(), spec })
    }

    /// The folder of the sleeping pal's memory image.
    pub fn memory_image(&self) -> PathBuf {
        self.folder.join("memory")
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn key(&self) -> &Secret<32> {
        &self.key
    }

    /// The pal's machine; to start one beside it, it needs a name, disks and a namespace of its own.
    pub fn spec(&self) -> &MachineSpec {
        &self.spec
    }

    /// How often any needle occurs in the decrypted memory image.
    pub fn search(&self, needles: &[Vec<u8>]) -> Result<u64> {
        let needles: Vec<&[u8]> = needles.iter().map(Vec::as_slice).collect();
        let search = |binding: &Binding| {
            self.engine.search(&self.spec, &self.memory_image(), &self.key, binding, &needles)
        };
        self.each_life(|binding| search(binding).map(|counts| counts.iter().sum()))
    }

    /// What the memory image is bound to: the life in which the pal went to sleep is the host's to know,
    /// so the lives are tried until one fits.
    pub fn each_life<T>(&self, attempt: impl Fn(&Binding) -> Result<T, RestoreError>) -> Result<T> {
        for generation in 0..MOST_LIVES {
            let binding = Binding { image: self.image.digest.clone(), pal: self.pal.clone(), generation };
            match attempt(&binding) {
                Err(RestoreError::Refused { .. }) => {}
                done => return Ok(done?),
            }
        }
        bail!("the memory image fits none of the first {MOST_LIVES} lives of the pal")
    }
}
