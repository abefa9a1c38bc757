//! Where things lie: the workspace, its target folder, and its files.
//!
//! Fails when a folder cannot be read, naming it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The workspace that this program was built from.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        // Cargo names the manifest's folder when it runs us; a copied binary has only its build-time answer.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().context("xtask lies in a workspace")?.to_owned();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => std::path::absolute(dir)?,
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// Every file of the sources, relative to the root and sorted; build results and dot folders are left out,
    /// save those that hold sources themselves.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        self.walk(&self.root, &mut found)?;
        found.sort();
        Ok(found)
    }

    fn walk(&self, folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let kind = entry.file_type()?;
            let kept_dot = [".cargo", ".github"].contains(&name.as_ref());
            if kind.is_dir() {
                if path != self.target && name != "target" && (!name.starts_with('.') || kept_dot) {
                    self.walk(&path, found)?;
                }
            } else if kind.is_file() {
                found.push(path.strip_prefix(&self.root)?.to_owned());
            }
        }
        Ok(())
    }

    pub(crate) fn read(&self, file: &Path) -> Result<Vec<u8>> {
        fs::read(self.root.join(file)).with_context(|| format!("read {}", file.display()))
    }
}
