//! A stand-in for cloudpal-init that the tests boot: one file, only std, compiled by the tests with
//! `rustc -C target-feature=+crt-static`. It loads the modules, then answers lines on the port
//! `cloudpal`: `ping N` -> `pong N`, `keep TEXT` holds TEXT in memory, `kept` gives it back,
//! `fill MIB` dirties memory, `drop` frees it, and so on.

use std::ffi::{CString, c_char, c_int, c_ulong, c_void};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

unsafe extern "C" {
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn syscall(number: i64, ...) -> i64;
    fn reboot(how: c_int) -> c_int;
}

fn mount_at(kind: &str, target: &str) {
    let (kind, target) = (CString::new(kind).unwrap(), CString::new(target).unwrap());
    // SAFETY: three valid strings; no data.
    unsafe { mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
}

fn load_modules() {
    const FINIT_MODULE: i64 = 313;
    for name in fs::read_to_string("/modules/order").unwrap_or_default().lines() {
        let Ok(file) = File::open(format!("/modules/{name}")) else { continue };
        let options = CString::default();
        // SAFETY: a readable descriptor and a valid string.
        let result = unsafe { syscall(FINIT_MODULE, file.as_raw_fd(), options.as_ptr(), 0) };
        if result != 0 {
            println!("module {name}: {}", std::io::Error::last_os_error());
        }
    }
}

fn find_port() -> Option<String> {
    fs::read_dir("/sys/class/virtio-ports").ok()?.flatten().find_map(|entry| {
        let name = fs::read_to_string(entry.path().join("name")).ok()?;
        (name.trim() == "cloudpal").then(|| format!("/dev/{}", entry.file_name().to_string_lossy()))
    })
}

fn answer(line: &str, kept: &mut Vec<String>, ballast: &mut Vec<Vec<u8>>) -> String {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "ping" => format!("pong {rest}"),
        "keep" => {
            kept.push(rest.to_owned());
            "ok".to_owned()
        }
        "kept" => format!("kept {}", kept.join(",")),
        "fill" => {
            let mib: usize = rest.parse().unwrap_or(1);
            ballast.push((0..mib << 20).map(|at| ((at * 31) >> 7) as u8 | 1).collect());
            "ok".to_owned()
        }
        "drop" => {
            ballast.clear();
            "ok".to_owned()
        }
        "sum" => format!(
            "sum {}",
            ballast.iter().flatten().fold(0u64, |sum, &byte| sum.rotate_left(5) ^ u64::from(byte))
        ),
        "disks" => {
            let mut names: Vec<String> = fs::read_dir("/sys/block")
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| fs::read_to_string(entry.path().join("serial")).ok())
                .collect();
            names.sort();
            format!("disks {}", names.join(","))
        }
        "flood" => {
            for number in 0..20_000 {
                println!("console line {number} of a guest that means to fill the host's disk");
            }
            "ok".to_owned()
        }
        "cmdline" => fs::read_to_string("/proc/cmdline").unwrap_or_default().trim().to_owned(),
        "poweroff" => {
            // SAFETY: no memory involved; RB_POWER_OFF.
            unsafe { reboot(0x4321_fedc) };
            "no".to_owned()
        }
        _ => format!("what {word}"),
    }
}

fn main() {
    mount_at("proc", "/proc");
    mount_at("sysfs", "/sys");
    mount_at("devtmpfs", "/dev");
    load_modules();
    for folder in ["/modules", "/sbin", "/lib", "/lib64"] {
        let _ = fs::remove_dir_all(folder);
    }
    let _ = fs::remove_file("/cloudpald");
    let (mut kept, mut ballast) = (Vec::new(), Vec::new());
    println!("guest is up");
    loop {
        let port = find_port().and_then(|path| OpenOptions::new().read(true).write(true).open(path).ok());
        let Some(port) = port else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let mut reader = BufReader::new(port.try_clone().unwrap());
        let mut writer = port;
        let mut line = String::new();
        loop {
            line.clear();
            match reader.read_line(&mut line) {
                // The host is away: the port gives end of file until it is back.
                Ok(0) | Err(_) => std::thread::sleep(Duration::from_millis(2)),
                Ok(_) => {
                    let reply = answer(line.trim(), &mut kept, &mut ballast);
                    let _ = writer.write_all(format!("{reply}\n").as_bytes());
                }
            }
        }
    }
}
