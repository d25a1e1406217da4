//! The device mapper's ioctls, as far as one encrypted disk needs them (`linux/dm-ioctl.h`, version 4).

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use zeroize::Zeroizing;

/// Size of `struct dm_ioctl`.
const HEADER: usize = 312;
/// Size of `struct dm_target_spec`.
const SPEC: usize = 40;
const NAME_AT: usize = 48;
const DEV_AT: usize = 40;

/// The kernel wipes its copy of what was passed.
const SECURE_DATA: u32 = 1 << 15;

#[derive(Clone, Copy)]
enum Call {
    Create = 3,
    Remove = 4,
    Resume = 6,
    Load = 9,
}

/// One target that covers the whole device.
pub struct Target<'a> {
    /// Length in sectors of 512 bytes.
    pub sectors: u64,
    /// `crypt`.
    pub kind: &'a str,
    /// The target's own parameters. May hold a key: they are wiped here and in the kernel.
    pub parameters: &'a str,
}

/// Makes device `name` with one target and switches it on. Gives its minor number: `/dev/dm-<minor>`.
pub fn create(name: &str, target: &Target<'_>) -> io::Result<u32> {
    let control = File::options().read(true).write(true).open("/dev/mapper/control")?;
    call(&control, Call::Create, &mut request(name, &[]))?;
    let mut table = request(name, &table(target));
    let made = call(&control, Call::Load, &mut table)
        .and_then(|()| call(&control, Call::Resume, &mut request(name, &[])));
    if let Err(error) = made {
        let _ = call(&control, Call::Remove, &mut request(name, &[]));
        return Err(error);
    }
    Ok(minor(&table))
}

/// Removes device `name`; the kernel wipes its key. One that does not exist is fine.
pub fn remove(name: &str) -> io::Result<()> {
    let control = File::options().read(true).write(true).open("/dev/mapper/control")?;
    match call(&control, Call::Remove, &mut request(name, &[])) {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(()),
        other => other,
    }
}

/// `struct dm_target_spec` and its parameters, ended by a zero and padded to eight bytes.
fn table(target: &Target<'_>) -> Zeroizing<Vec<u8>> {
    let size = (SPEC + target.parameters.len() + 1).next_multiple_of(8);
    let mut bytes = Zeroizing::new(vec![0; size]);
    bytes[8..16].copy_from_slice(&target.sectors.to_le_bytes());
    bytes[20..24].copy_from_slice(&(size as u32).to_le_bytes());
    bytes[24..24 + target.kind.len()].copy_from_slice(target.kind.as_bytes());
    bytes[SPEC..SPEC + target.parameters.len()].copy_from_slice(target.parameters.as_bytes());
    bytes
}

/// `struct dm_ioctl` followed by `payload`, which holds at most one target.
fn request(name: &str, payload: &[u8]) -> Zeroizing<Vec<u8>> {
    // The kernel writes its answer behind the header: leave it room.
    let size = HEADER + payload.len().max(256);
    let mut bytes = Zeroizing::new(vec![0; size]);
    for (at, value) in [
        (0, 4u32),
        (12, size as u32),
        (16, HEADER as u32),
        (20, u32::from(!payload.is_empty())),
        (28, SECURE_DATA),
    ] {
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    bytes[NAME_AT..NAME_AT + name.len()].copy_from_slice(name.as_bytes());
    bytes[HEADER..HEADER + payload.len()].copy_from_slice(payload);
    bytes
}

/// Low eight bits and bits 20 to 31 of the kernel's `dev_t` for user space hold the minor number.
fn minor(answer: &[u8]) -> u32 {
    let mut dev = [0; 4];
    dev.copy_from_slice(&answer[DEV_AT..DEV_AT + 4]);
    let dev = u32::from_le_bytes(dev);
    (dev & 0xff) | ((dev >> 12) & 0xfff00)
}

fn call(control: &File, what: Call, request: &mut Zeroizing<Vec<u8>>) -> io::Result<()> {
    let code = nix::request_code_readwrite!(0xfd, what as u8, HEADER);
    // SAFETY: `request` is a live buffer that starts with a `dm_ioctl` whose `data_size` is the buffer's
    // length, so the kernel reads and writes nothing beyond it.
    let result = unsafe { libc::ioctl(control.as_raw_fd(), code, request.as_mut_ptr()) };
    nix::errno::Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lays_out_what_the_kernel_reads() {
        let target = Target { sectors: 7, kind: "crypt", parameters: "abc" };
        let bytes = request("data", &table(&target));
        assert_eq!(bytes.len(), HEADER + 256);
        assert_eq!(&bytes[NAME_AT..NAME_AT + 5], b"data\0");
        assert_eq!(bytes[HEADER + 8], 7);
        assert_eq!(&bytes[HEADER + SPEC..HEADER + SPEC + 4], b"abc\0");
        assert_eq!(minor(&[0u8; HEADER]), 0);
    }
}
