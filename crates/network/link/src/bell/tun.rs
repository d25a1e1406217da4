//! Persistent TUN and TAP interfaces.
#![allow(unsafe_code)]

use nix::libc;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// Which of the two.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// IP packets, no header.
    Tun,
    /// Ethernet frames with a virtio-net header, as hypervisors open it, for one user.
    Tap {
        /// Who may open it without being root.
        owner: u32,
    },
}

nix::ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, libc::ifreq);
nix::ioctl_write_int_bad!(set_owner, libc::TUNSETOWNER);
nix::ioctl_write_int_bad!(set_persist, libc::TUNSETPERSIST);

/// Makes an interface that stays when its descriptor is closed, in the calling thread's namespace.
pub(crate) fn create(name: &str, kind: Kind) -> io::Result<()> {
    let file = attach(name, kind)?;
    let fd = file.as_raw_fd();
    if let Kind::Tap { owner } = kind {
        let owner = i32::try_from(owner).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open for this call, and the argument is a number.
        unsafe { set_owner(fd, owner) }?;
    }
    // SAFETY: as above.
    unsafe { set_persist(fd, 1) }?;
    Ok(())
}

/// Opens an interface by name, which makes it if it is missing.
pub(crate) fn attach(name: &str, kind: Kind) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: `ifreq` is plain data, for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let flags = match kind {
        Kind::Tun => libc::IFF_TUN | libc::IFF_NO_PI,
        Kind::Tap { .. } => libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR,
    };
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the descriptor is open and `request` outlives the call, which reads and writes only it.
    unsafe { set_interface(file.as_raw_fd(), &request) }?;
    Ok(file)
}
