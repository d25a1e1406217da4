use crate::modinfo;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where Debian keeps shared libraries. No cache of the loader is read: its order is the host's business.
const FOLDERS: &[&str] =
    &["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// A host program that cannot be put into the image.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The program is not there.
    #[error("could not read {path}, which the image needs: install the package {package}")]
    Program {
        /// The program.
        path: PathBuf,
        /// Debian's package that holds it.
        package: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not a program for this kind of machine.
    #[error("{path} is not a program that a Linux guest can run")]
    NotElf {
        /// The file.
        path: PathBuf,
    },
    /// A library is not there.
    #[error(
        "{by} needs the library {name}, which is in none of Debian's library folders: reinstall {by}'s package"
    )]
    Missing {
        /// The library.
        name: String,
        /// Who needs it.
        by: PathBuf,
    },
}

/// Files to put into the image: path in the guest to content.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Adds the program at `host` as `guest`, its loader and every library it needs to `files`.
pub fn add_program(
    files: &mut Files,
    host: &Path,
    guest: &str,
    package: &'static str,
) -> Result<(), LibraryError> {
    let bytes =
        fs::read(host).map_err(|source| LibraryError::Program { path: host.to_owned(), package, source })?;
    add_needs(files, host, &bytes)?;
    files.insert(guest.to_owned(), bytes);
    Ok(())
}

fn add_needs(files: &mut Files, path: &Path, bytes: &[u8]) -> Result<(), LibraryError> {
    let needs = modinfo::needs(bytes).ok_or_else(|| LibraryError::NotElf { path: path.to_owned() })?;
    if let Some(loader) = needs.loader {
        let bytes = fs::read(&loader).map_err(|_| missing(&loader, path))?;
        files.insert(loader.trim_start_matches('/').to_owned(), bytes);
    }
    for name in needs.libraries {
        let guest = format!("lib/{name}");
        // The loader is also named as a library by the C library; it has its own place.
        if files.contains_key(&guest) || name.starts_with("ld-linux") {
            continue;
        }
        let (found, bytes) = FOLDERS
            .iter()
            .map(|folder| Path::new(folder).join(&name))
            .find_map(|path| fs::read(&path).ok().map(|bytes| (path, bytes)))
            .ok_or_else(|| missing(&name, path))?;
        files.insert(guest, bytes.clone());
        add_needs(files, &found, &bytes)?;
    }
    Ok(())
}

fn missing(name: &str, by: &Path) -> LibraryError {
    LibraryError::Missing { name: name.to_owned(), by: by.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_comes_with_its_loader_and_libraries() {
        let mut files = Files::new();
        add_program(&mut files, Path::new("/bin/sh"), "sbin/sh", "dash").unwrap();
        for path in ["sbin/sh", "lib/libc.so.6", "lib64/ld-linux-x86-64.so.2"] {
            assert!(files.contains_key(path), "{path} is missing of {:?}", files.keys());
        }
    }

    #[test]
    fn an_absent_program_names_its_package() {
        let error =
            add_program(&mut Files::new(), Path::new("/none/nft"), "sbin/nft", "nftables").unwrap_err();
        assert!(error.to_string().contains("nftables"), "{error}");
    }
}
