//! From an image to real files, where the engine can be opened on what the crash left.

use super::tree::{Node, ROOT, Tree};
use anyhow::{Context as _, Result};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

impl Tree {
    /// Writes everything that has a name below `target`, which must be there.
    pub fn lay(&self, target: &Path) -> Result<()> {
        self.lay_folder(ROOT, target)
    }

    fn lay_folder(&self, folder: Node, target: &Path) -> Result<()> {
        for (name, node) in self.folders.get(&folder).into_iter().flatten() {
            let path = target.join(name);
            if self.folders.contains_key(node) {
                fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
                self.lay_folder(*node, &path)?;
            } else if let Some(content) = self.files.get(node) {
                let write = || -> std::io::Result<()> {
                    let file = File::create(&path)?;
                    file.set_len(content.length())?;
                    content.pieces().iter().try_for_each(|(offset, bytes)| file.write_all_at(bytes, *offset))
                };
                write().with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(())
    }
}
