//! Feeds the kernel's generator: after a restore it stands where it stood, and a second machine from the
//! same image would draw the same numbers.

#![allow(unsafe_code)]

use cloudpal_core::Secret;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use zeroize::Zeroize;

/// `struct rand_pool_info` of `linux/random.h` with room for 32 bytes.
#[repr(C)]
struct Pool {
    entropy_bits: libc::c_int,
    size: libc::c_int,
    bytes: [u8; 32],
}

nix::ioctl_write_ptr_bad!(
    /// `RNDADDENTROPY`: mixes bytes in and counts them.
    add_entropy,
    nix::request_code_write!(b'R', 0x03, size_of::<[libc::c_int; 2]>()),
    Pool
);
nix::ioctl_none!(
    /// `RNDRESEEDCRNG`: uses what was mixed in from now on.
    reseed,
    b'R',
    0x07
);

/// Mixes in 32 bytes, counts them as full entropy and makes the generator use them at once.
pub fn feed(fresh: &Secret<32>) -> io::Result<()> {
    let random = File::open("/dev/urandom")?;
    let mut pool = Pool { entropy_bits: 256, size: 32, bytes: *fresh.expose() };
    // SAFETY: the descriptor is open for the call and `pool` is a live `rand_pool_info` whose `size`
    // is the length of what follows it.
    let added = unsafe { add_entropy(random.as_raw_fd(), &raw const pool) };
    pool.bytes.zeroize();
    added?;
    // SAFETY: takes no argument.
    unsafe { reseed(random.as_raw_fd()) }?;
    Ok(())
}
