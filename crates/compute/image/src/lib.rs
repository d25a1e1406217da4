//! # What a micro-VM boots
//!
//! An [`Image`] is a folder with a guest kernel (`vmlinux`), one initial file system (`initrd`) and
//! `image.json`, which holds their SHA-256 digests. [`build`] makes it from an unpacked Debian cloud kernel package, our two
//! static guest programs and two tools of the host (`mke2fs`, `nft`) with the libraries they need:
//!
//! ```text
//! /init  /cloudpald                 our programs, static
//! /modules/order  /modules/*.ko     kernel modules; `order` has one file name a line, in load order
//! /sbin/mke2fs  /sbin/nft           /lib/*.so*, /lib64/ld-linux-x86-64.so.2
//! /dev/console  /proc /sys /dev /run /data /tmp /etc
//! ```
//!
//! Building twice from the same inputs gives the same bytes. This crate never installs a package,
//! never runs a program, never touches the network and needs no rights beyond the folders named.
//!
//! ```no_run
//! use cloudpal_image::{BuildRequest, Image, build};
//! use std::path::Path;
//!
//! // After: apt-get download linux-image-6.1.0-56-cloud-amd64 && dpkg -x linux-image-*.deb kernel
//! let request = BuildRequest::new("kernel", "cloudpal-init", "cloudpald", "image");
//! let built = build(&request)?;
//! let opened = Image::open(Path::new("image"))?; // checks the digests
//! assert_eq!(built.digest, opened.digest);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod build;
pub mod cpio;
mod image;
mod kernel;
mod library;
mod modinfo;
mod vmlinux;

pub use build::{BuildError, BuildRequest, build};
pub use image::{Image, OpenError};
pub use kernel::{KernelError, KernelTree, Module};
pub use library::LibraryError;
