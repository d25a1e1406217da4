//! Memory that is a file without a name: gone when its last holder is.

use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::{File, OpenOptions};
use std::io;

/// A memory file of `size` zero bytes that reads as zeros where nothing was written.
pub fn create(name: &str, size: u64) -> io::Result<File> {
    let file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    file.set_len(size)?;
    Ok(file)
}

/// A memory file that can never grow past `size` bytes: for output of programs that are not trusted.
pub fn bounded(name: &str, size: u64) -> io::Result<File> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    let file = create(name, size)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK))?;
    Ok(file)
}

/// What another process holds as its descriptor `number`, opened anew.
pub fn of_process(pid: u32, number: i32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/fd/{number}"))
}

/// The text at the start of a [`bounded`] file, without what was never written.
pub fn text(file: &File) -> String {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; 16 * 1024];
    let size = file.read_at(&mut bytes, 0).unwrap_or(0);
    let end = bytes[..size].iter().position(|&byte| byte == 0).unwrap_or(size);
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}
