//! The store's key. It lies in the store's folder, sealed to a secret in the configuration folder: who takes the
//! one without the other has nothing. Both are made when they are first needed.

use crate::failure::{Exit, Failure};
use crate::person::{self, Person};
use cloudpal_core::Secret;
use cloudpal_store::{StoreKey, seal, unseal};
use std::path::Path;
use zeroize::Zeroizing;

/// The file of the device's secret.
const SECRET: &str = "data.key";

/// The key of the store in `dir`; a new one for a folder that has none.
pub fn store_key(person: &Person, dir: &Path) -> Result<StoreKey, Failure> {
    let device = device_secret(person)?;
    if let Some(key) = unseal(dir, &device).map_err(|error| Failure::lift(Exit::Refused, error))? {
        return Ok(key);
    }
    if has_store(dir) {
        let message = format!(
            "the store in {} has no key file; put back key.sealed, or copy the whole folder from where it was made",
            dir.display()
        );
        return Err(Failure::new(Exit::Refused, message));
    }
    let key = StoreKey::random().map_err(|error| Failure::from(person::PersonError::Random(error)))?;
    let failed =
        |error| Failure::because(Exit::Failed, format!("writing into {} failed", dir.display()), error);
    person::make_private_dir(dir)?;
    seal(dir, &key, &device).map_err(failed)?;
    Ok(key)
}

/// Whether there is anything in `dir`.
pub fn has_store(dir: &Path) -> bool {
    let mut entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name() != "key.sealed.new")
}

fn device_secret(person: &Person) -> Result<Secret<32>, Failure> {
    let _locked = person.lock()?;
    let path = person.dir().join(SECRET);
    if let Some(text) = person::read(&path)?.map(Zeroizing::new) {
        let mut bytes = Zeroizing::new([0; 32]);
        return match hex::decode_to_slice(text.trim_ascii(), &mut *bytes) {
            Ok(()) => Ok(Secret::new(*bytes)),
            Err(_) => {
                let message = format!("{} is damaged; put it back from a backup", path.display());
                Err(Failure::new(Exit::Failed, message))
            }
        };
    }
    let secret = Secret::new(person::random()?);
    person::write_private(&path, Zeroizing::new(hex::encode(secret.expose())).as_bytes())?;
    Ok(secret)
}
