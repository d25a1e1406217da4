//! A tap device for a process that could not open it by itself.
#![allow(unsafe_code)]

use nix::libc;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

const DEVICE: &std::ffi::CStr = c"/dev/net/tun";

nix::ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, libc::ifreq);

/// A tap that a process is to inherit, under a descriptor number that is known before it starts.
///
/// Only root may open the device on some hosts, and the kernel ties it to the network namespace of whoever opens it;
/// but which tap may be had is asked of whoever names it. So the new process opens the device while it still has its
/// rights, and names the tap once it has lost them: it gets no tap but one of its own user's.
#[derive(Debug)]
pub struct TapDoor {
    /// Holds the number until the device takes it over.
    place: File,
    name: String,
}

impl TapDoor {
    /// For the tap `name`.
    pub fn new(name: &str) -> io::Result<Self> {
        if name.len() >= libc::IFNAMSIZ {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(TapDoor { place: File::open("/dev/null")?, name: name.to_owned() })
    }

    /// The number.
    pub fn descriptor(&self) -> RawFd {
        self.place.as_raw_fd()
    }

    /// Opens the device in the new process, which neither allocates nor locks.
    pub(super) fn open(&self) -> io::Result<()> {
        // SAFETY: the path ends in a zero byte; no other memory is involved, and both descriptors are this copy's own.
        unsafe {
            let device = libc::open(DEVICE.as_ptr(), libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC);
            let moved =
                if device < 0 { device } else { libc::dup3(device, self.descriptor(), libc::O_CLOEXEC) };
            if moved < 0 {
                return Err(self.explain());
            }
            libc::close(device);
        }
        Ok(())
    }

    /// Names the tap in the new process, with the rights it has left.
    pub(super) fn attach(&self) -> io::Result<()> {
        // SAFETY: `ifreq` is plain data, for which all zeros is a valid value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(self.name.bytes()) {
            *to = from as libc::c_char;
        }
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        // SAFETY: the descriptor is open, and the request outlives the call, which reads and writes only it.
        unsafe { set_interface(self.descriptor(), &raw mut request) }.map_err(|_| self.explain())?;
        Ok(())
    }

    /// Only a number comes back from a process that did not start, so the words go where the hypervisor's own would.
    fn explain(&self) -> io::Error {
        let error = io::Error::last_os_error();
        for part in ["could not open the tap device ", &self.name] {
            // SAFETY: the text lives through the call.
            unsafe { libc::write(libc::STDERR_FILENO, part.as_ptr().cast(), part.len()) };
        }
        error
    }
}
