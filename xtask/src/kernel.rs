//! The kernel that pals run: Debian's cloud kernel, downloaded and unpacked, never installed.

use crate::packages::refresh_lists;
use crate::run::{command, output, watched};
use crate::tree;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};

const META: &str = "linux-image-cloud-amd64";

/// The kernel's package, downloaded now or by an earlier run.
pub fn fetch() -> Result<PathBuf> {
    let cache = tree::target()?.join("guest-kernel");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    if let Some(package) = downloaded(&cache)? {
        return Ok(package);
    }
    let name = match newest() {
        Ok(name) => name,
        Err(_) => refresh_lists().and_then(|()| newest())?,
    };
    if download(&cache, &name).is_err() {
        refresh_lists()?;
        download(&cache, &newest()?)?;
    }
    downloaded(&cache)?.with_context(|| format!("apt-get said it downloaded {name}, but it is not there"))
}

/// Unpacks the package into `tree`, unless it lies there already.
pub fn unpack(package: &Path, tree: &Path) -> Result<()> {
    let done = tree.join(".unpacked");
    let name = package.file_name().unwrap_or_default().to_string_lossy();
    if fs::read_to_string(&done).is_ok_and(|unpacked| unpacked == name) {
        return Ok(());
    }
    if tree.exists() {
        fs::remove_dir_all(tree).with_context(|| format!("cannot clear {}", tree.display()))?;
    }
    fs::create_dir_all(tree).with_context(|| format!("cannot make {}", tree.display()))?;
    output(command("dpkg -x").arg(package).arg(tree))?;
    fs::write(&done, name.as_bytes()).with_context(|| format!("cannot write {}", done.display()))
}

/// The package that Debian's name for "the newest cloud kernel" stands for.
fn newest() -> Result<String> {
    let depends = output(command("apt-cache depends").arg(META))?;
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with("linux-image-"))
        .map(str::to_owned)
        .with_context(|| format!("apt does not know {META}; is Debian's main archive in its sources?"))
}

fn download(cache: &Path, name: &str) -> Result<()> {
    watched(command("apt-get download -q").arg(name).current_dir(cache))
}

fn downloaded(cache: &Path) -> Result<Option<PathBuf>> {
    let files = fs::read_dir(cache).with_context(|| format!("cannot read {}", cache.display()))?;
    Ok(files
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|end| end == "deb"))
        .max())
}
