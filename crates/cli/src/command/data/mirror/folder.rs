//! A drive in a folder of this machine.

use super::Sides;
use crate::failure::Failure;
use crate::local::failure::failed;
use crate::remote::mirror::Target;
use cloudpal_drive::folder::LocalFolder;
use cloudpal_drive::mirror::{MirrorOptions, Mirrored, Run, Surplus, Watch};
use cloudpal_drive::{Checkout, Drive};
use std::sync::Arc;

/// The drive, as it is or was, and the folder beside it.
pub struct OfFolder {
    drive: Arc<Drive>,
    view: Checkout,
    folder: LocalFolder,
    target: Target,
}

impl OfFolder {
    pub fn new(
        drive: Arc<Drive>,
        version: Option<u64>,
        folder: LocalFolder,
        target: Target,
    ) -> Result<Self, Failure> {
        let view = match version {
            Some(version) => drive.checkout(version).map_err(failed)?,
            None => drive.now(),
        };
        Ok(OfFolder { drive, view, folder, target })
    }
}

impl Sides for OfFolder {
    fn mirror(&mut self, surplus: Surplus, run: Run, watch: Watch<'_>) -> Result<Mirrored, Failure> {
        let options = MirrorOptions { surplus, run, ..MirrorOptions::default() };
        let done = match self.target {
            Target::Drive => self.drive.mirror_from(&self.folder, &options, watch),
            Target::Folder => self.view.mirror_to(&self.folder, &options, watch),
        };
        done.map_err(failed)
    }

    fn version(&self) -> u64 {
        self.drive.version()
    }
}
