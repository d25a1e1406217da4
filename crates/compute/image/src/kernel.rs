use crate::modinfo;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Whether a guest can do without a module.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    /// Only makes something faster, or exists for some processors only.
    IfPresent,
}

use Need::{IfPresent, Required};

/// What the guest uses; what these depend on is found by itself.
const WANTED: &[(&str, Need)] = &[
    // Disks, network interface, host channel.
    ("virtio_mmio", Required),
    ("virtio_blk", Required),
    ("virtio_net", Required),
    ("virtio_console", Required),
    // The encrypted data disk.
    ("dm_mod", Required),
    ("dm_crypt", Required),
    ("ecb", Required),
    ("xts", Required),
    ("aes_generic", Required),
    ("aesni_intel", IfPresent),
    ("ext4", Required),
    // WireGuard.
    ("wireguard", Required),
    // Firewall and masquerading. Nothing in the guest loads modules by itself: all are named.
    ("nf_tables", Required),
    ("nft_ct", Required),
    ("nft_chain_nat", Required),
    ("nft_masq", Required),
    ("nft_nat", Required),
    ("nft_limit", Required),
    ("nft_reject_inet", Required),
    // Ends connections before a sleep, so that nothing undelivered stays in memory.
    ("tcp_diag", Required),
];

/// A kernel package that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Not the folder that `dpkg -x` makes of a kernel package.
    #[error(
        "{tree} holds no kernel: give the folder made by `apt-get download linux-image-...-cloud-amd64` and \
         `dpkg -x FILE.deb FOLDER`"
    )]
    NoKernel {
        /// The folder given.
        tree: PathBuf,
    },
    /// A file of the package could not be read.
    #[error("could not read {path} of the kernel package")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The guest needs this module.
    #[error(
        "this kernel has no module {name}, which the guest needs{by}; take a Debian cloud kernel (6.1 or newer)"
    )]
    NoModule {
        /// The module.
        name: String,
        /// Which other module asked for it.
        by: String,
    },
    /// A module file that is no module.
    #[error(
        "{path} is damaged or compressed: unpack the kernel package again (Debian's 6.1 modules are not compressed)"
    )]
    BadModule {
        /// The file.
        path: PathBuf,
    },
}

/// One kernel module to load in the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Name as the kernel writes it, with underscores.
    pub name: String,
    /// Where it lies in the unpacked package.
    pub path: PathBuf,
}

/// An unpacked kernel package.
#[derive(Debug)]
pub struct KernelTree {
    /// The kernel's release, as `uname -r` prints it.
    pub version: String,
    /// The kernel itself.
    pub kernel: PathBuf,
    modules: HashMap<String, PathBuf>,
    builtin: HashSet<String>,
}

impl KernelTree {
    /// Looks into the folder that `dpkg -x` made.
    pub fn open(tree: &Path) -> Result<Self, KernelError> {
        let none = || KernelError::NoKernel { tree: tree.to_owned() };
        let kernels = list(&tree.join("boot")).map_err(|_| none())?;
        let kernel = kernels
            .into_iter()
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")))
            .ok_or_else(none)?;
        let name = kernel.file_name().unwrap_or_default().to_string_lossy();
        let version = name.trim_start_matches("vmlinuz-").to_owned();
        let folder = ["lib/modules", "usr/lib/modules"]
            .iter()
            .map(|place| tree.join(place).join(&version))
            .find(|folder| folder.is_dir())
            .ok_or_else(none)?;
        let builtin_list = folder.join("modules.builtin");
        let builtin = fs::read_to_string(&builtin_list)
            .map_err(|source| KernelError::Read { path: builtin_list, source })?
            .lines()
            .map(|line| module_name(Path::new(line)))
            .collect();
        let mut modules = HashMap::new();
        collect_modules(&folder.join("kernel"), &mut modules)?;
        Ok(KernelTree { version, kernel, modules, builtin })
    }

    /// The modules the guest needs, each after those it depends on.
    pub fn load_order(&self) -> Result<Vec<Module>, KernelError> {
        let mut order = Vec::new();
        let mut seen = HashSet::new();
        for (name, need) in WANTED {
            if *need == IfPresent && !self.modules.contains_key(*name) {
                continue;
            }
            self.visit(name, "", &mut seen, &mut order)?;
        }
        Ok(order)
    }

    fn visit(
        &self,
        name: &str,
        by: &str,
        seen: &mut HashSet<String>,
        order: &mut Vec<Module>,
    ) -> Result<(), KernelError> {
        if self.builtin.contains(name) || !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(path) = self.modules.get(name) else {
            let by = if by.is_empty() { String::new() } else { format!(" (for {by})") };
            return Err(KernelError::NoModule { name: name.to_owned(), by });
        };
        let bytes = fs::read(path).map_err(|source| KernelError::Read { path: path.clone(), source })?;
        let depends =
            modinfo::depends(&bytes).ok_or_else(|| KernelError::BadModule { path: path.clone() })?;
        for other in depends {
            self.visit(&other.replace('-', "_"), name, seen, order)?;
        }
        order.push(Module { name: name.to_owned(), path: path.clone() });
        Ok(())
    }
}

/// `kernel/drivers/md/dm-mod.ko` is the module `dm_mod`.
fn module_name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_")
}

fn collect_modules(folder: &Path, into: &mut HashMap<String, PathBuf>) -> Result<(), KernelError> {
    for path in list(folder)? {
        if path.is_dir() {
            collect_modules(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "ko") {
            into.insert(module_name(&path), path);
        }
    }
    Ok(())
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, KernelError> {
    let read = |source| KernelError::Read { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        paths.push(entry.map_err(read)?.path());
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_the_kernel_writes_them() {
        assert_eq!(module_name(Path::new("kernel/drivers/md/dm-mod.ko")), "dm_mod");
    }

    #[test]
    fn a_folder_without_a_kernel_is_refused_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let error = KernelTree::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("dpkg -x"), "{error}");
    }

    #[test]
    fn a_missing_module_and_a_damaged_one_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let modules = folder.path().join("lib/modules/1.2.3/kernel");
        fs::create_dir_all(&modules).unwrap();
        fs::create_dir_all(folder.path().join("boot")).unwrap();
        fs::write(folder.path().join("boot/vmlinuz-1.2.3"), "kernel").unwrap();
        fs::write(folder.path().join("lib/modules/1.2.3/modules.builtin"), "kernel/fs/ext4/ext4.ko\n")
            .unwrap();
        let missing = KernelTree::open(folder.path()).unwrap().load_order().unwrap_err();
        assert!(
            matches!(missing, KernelError::NoModule { ref name, .. } if name == "virtio_mmio"),
            "{missing}"
        );
        fs::write(modules.join("virtio_mmio.ko"), "not a module").unwrap();
        let damaged = KernelTree::open(folder.path()).unwrap().load_order().unwrap_err();
        assert!(matches!(damaged, KernelError::BadModule { .. }), "{damaged}");
    }
}
