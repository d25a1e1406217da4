//! Loads the kernel modules that came with the image and deletes their files: they would only take room
//! in memory, and in every picture of it.

use nix::kmod::{ModuleInitFlags, finit_module};
use std::fs::{self, File};
use std::io;
use std::path::Path;

const FOLDER: &str = "/modules";

/// Modules could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The list is missing.
    #[error("could not read {FOLDER}/order; build the guest image again")]
    Order(#[source] io::Error),
    /// One module is missing or does not fit the kernel.
    #[error("could not load module {name}; build the guest image again for this kernel")]
    Load {
        /// Its file name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Loads every module named in `/modules/order`, in that order.
pub fn load_all() -> Result<(), ModuleError> {
    let folder = Path::new(FOLDER);
    let order = fs::read_to_string(folder.join("order")).map_err(ModuleError::Order)?;
    for name in order.lines().map(str::trim).filter(|name| !name.is_empty()) {
        load(&folder.join(name)).map_err(|source| ModuleError::Load { name: name.to_owned(), source })?;
    }
    fs::remove_dir_all(folder).map_err(ModuleError::Order)
}

fn load(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    match finit_module(&file, c"", ModuleInitFlags::empty()) {
        // Built in or loaded already; or made for a processor that this is not (x86 variants).
        Ok(()) | Err(nix::Error::EEXIST | nix::Error::ENODEV) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
