//! QEMU's command line, made from a spec and descriptor numbers alone.

use crate::choose::Hypervisor;
use crate::spec::{Access, MachineSpec, Offload};

/// Numbers of the descriptors that QEMU inherits.
#[derive(Clone, Debug)]
pub struct Descriptors {
    /// Guest memory.
    pub memory: i32,
    /// Listening socket of the machine protocol.
    pub qmp: i32,
    /// Listening socket of the agent channel.
    pub channel: i32,
    /// One for each disk, in order.
    pub disks: Vec<i32>,
    /// The tap, if the machine has a network interface.
    pub tap: Option<i32>,
}

/// How the guest comes to life.
#[derive(Clone, Debug)]
pub enum Start {
    /// From kernel and initial file system, given as descriptors.
    Cold {
        /// Kernel.
        kernel: i32,
        /// Initial file system.
        initrd: i32,
        /// The host's time stamp counter in kHz: without KVM the guest hangs calibrating it.
        tsc_khz: u64,
    },
    /// From device state that comes over the machine protocol. No kernel is read.
    Incoming,
}

/// QEMU's arguments.
pub fn arguments(
    hypervisor: Hypervisor,
    spec: &MachineSpec,
    descriptors: &Descriptors,
    start: &Start,
) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
    let accelerator: &[&str] = match hypervisor {
        // A translated guest of this size never needs more; the default would take a gigabyte.
        Hypervisor::QemuTcg => &["-accel", "tcg,thread=multi,tb-size=64", "-cpu", "max"],
        Hypervisor::QemuKvm => &["-accel", "kvm", "-cpu", "host"],
    };
    add(&["-name", &spec.name]);
    add(&["-machine", "microvm,acpi=on,rtc=on,pic=on,pit=on,memory-backend=mem0"]);
    add(accelerator);
    add(&["-smp", &spec.cpus.to_string()]);
    add(&["-m", &spec.memory_mib.to_string()]);
    add(&["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    add(&["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]);
    add(&[
        "-object",
        &format!(
            "memory-backend-file,id=mem0,size={}M,mem-path=/proc/self/fd/{},share=on,dump=off,merge=off",
            spec.memory_mib, descriptors.memory
        ),
    ]);
    match start {
        Start::Cold { kernel, initrd, tsc_khz } => {
            add(&["-kernel", &format!("/proc/self/fd/{kernel}")]);
            add(&["-initrd", &format!("/proc/self/fd/{initrd}")]);
            add(&["-append", &kernel_command_line(hypervisor, spec, *tsc_khz)]);
        }
        Start::Incoming => add(&["-incoming", "defer"]),
    }
    add(&["-chardev", &format!("socket,id=qmp,fd={},server=on,wait=off", descriptors.qmp)]);
    add(&["-mon", "chardev=qmp,mode=control"]);
    // The console can never fill a disk: the last 64 KiB stay in QEMU's memory.
    add(&["-chardev", "ringbuf,id=console,size=65536", "-serial", "chardev:console"]);
    add(&["-chardev", &format!("socket,id=channel,fd={},server=on,wait=off", descriptors.channel)]);
    add(&["-device", "virtio-serial-device"]);
    add(&["-device", "virtserialport,chardev=channel,name=cloudpal"]);
    for (number, (disk, descriptor)) in spec.disks.iter().zip(&descriptors.disks).enumerate() {
        let read_only = match disk.access {
            Access::ReadOnly => "on",
            Access::ReadWrite => "off",
        };
        add(&["-add-fd", &format!("fd={descriptor},set={number}")]);
        add(&[
            "-blockdev",
            &format!(
                "driver=file,node-name=disk{number},filename=/dev/fdset/{number},read-only={read_only},\
                 discard=unmap,detect-zeroes=unmap,locking=off"
            ),
        ]);
        add(&["-device", &format!("virtio-blk-device,drive=disk{number},serial={}", disk.serial)]);
    }
    if let (Some(nic), Some(tap)) = (&spec.nic, descriptors.tap) {
        add(&["-netdev", &format!("tap,id=nic,fd={tap},vhost=off")]);
        let mac = nic.mac.map(|byte| format!("{byte:02x}")).join(":");
        let offload = match nic.offload {
            Offload::On => "",
            Offload::Off => {
                ",csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,\
                 host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,mrg_rxbuf=off"
            }
        };
        // A guest that announced itself after every wake would do so before it answers whoever rang; its
        // neighbour is told its address by hand.
        add(&["-device", &format!("virtio-net-device,netdev=nic,mac={mac},guest_announce=off{offload}")]);
    }
    arguments
}

/// `init_on_free` turns freed pages into zeros, which a snapshot skips; it also keeps freed secrets out of it.
fn kernel_command_line(hypervisor: Hypervisor, spec: &MachineSpec, tsc_khz: u64) -> String {
    let mut words = vec!["console=ttyS0", "quiet", "reboot=t", "panic=-1", "init_on_free=1"];
    // Without `tsc=reliable` the guest doubts a translated counter and falls back to ticks of 4 ms.
    let calibration = format!("tsc=reliable tsc_early_khz={tsc_khz}");
    if hypervisor == Hypervisor::QemuTcg {
        words.push(&calibration);
    }
    words.extend(spec.cmdline.iter().map(String::as_str));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Disk, Nic, RunAs};

    fn spec() -> MachineSpec {
        MachineSpec {
            name: "m".into(),
            run_dir: "/r".into(),
            kernel: "/k".into(),
            initrd: "/i".into(),
            memory_mib: 128,
            cpus: 1,
            disks: vec![Disk {
                path: "/secret/place".into(),
                serial: "data".into(),
                access: Access::ReadOnly,
            }],
            nic: Some(Nic { tap: "tap0".into(), mac: [2, 0, 0, 0xab, 0, 1], offload: Offload::Off }),
            netns: None,
            run_as: RunAs { uid: 1, gid: 1 },
            cgroup_parent: "c".into(),
            cmdline: vec!["extra=1".into()],
        }
    }

    fn line(hypervisor: Hypervisor, start: &Start) -> String {
        let descriptors = Descriptors { memory: 10, qmp: 11, channel: 12, disks: vec![13], tap: Some(14) };
        arguments(hypervisor, &spec(), &descriptors, start).join(" ")
    }

    const COLD: Start = Start::Cold { kernel: 20, initrd: 21, tsc_khz: 2_300_000 };

    #[test]
    fn only_a_translated_guest_is_told_the_clock() {
        assert!(line(Hypervisor::QemuTcg, &COLD).contains("tsc_early_khz=2300000 extra=1"));
        assert!(!line(Hypervisor::QemuKvm, &COLD).contains("tsc_early_khz"));
    }

    #[test]
    fn files_go_by_descriptor_and_devices_are_the_same_in_both_lives() {
        let (cold, incoming) =
            (line(Hypervisor::QemuTcg, &COLD), line(Hypervisor::QemuTcg, &Start::Incoming));
        for line in [&cold, &incoming] {
            assert!(!line.contains("/secret/place") && line.contains("fd=13,set=0"), "{line}");
            assert!(!line.contains("tap0") && line.contains("tap,id=nic,fd=14"), "{line}");
            assert!(
                line.contains("mac=02:00:00:ab:00:01,guest_announce=off,csum=off")
                    && line.contains("read-only=on"),
                "{line}"
            );
            assert!(line.contains("spawn=deny"), "{line}");
        }
        let devices = |line: &str| line.split("-chardev").skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(devices(&cold), devices(&incoming));
        assert!(!incoming.contains("-kernel"));
    }
}
