//! Programs with the libraries that `ldd` shows, and kernel modules with those that they need, as parts of an image.
//!
//! Fails when a program, a library or a module is missing, naming it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cpio::Archive;
use crate::run;

/// Debian's packages, unpacked somewhere else than at the root.
pub(crate) struct Sysroot(pub(crate) PathBuf);

impl Sysroot {
    /// Adds a program of the packages at its own path.
    pub(crate) fn program(&self, archive: &mut Archive, path: &str) -> Result<()> {
        self.place(archive, &self.0.join(path), path)
    }

    /// Adds any program; libraries are looked for in the packages first, and land at their own paths.
    pub(crate) fn place(&self, archive: &mut Archive, from: &Path, to: &str) -> Result<()> {
        archive.copy(to, from, 0o755);
        let folders = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
        let mut search = OsString::new();
        for folder in folders {
            search.push(self.0.join(folder));
            search.push(":");
        }
        let mut ldd = run::command("ldd");
        let listing = run::output(ldd.arg(from).env("LD_LIBRARY_PATH", search))
            .with_context(|| format!("libraries of {}", from.display()))?;
        for line in listing.lines() {
            if line.contains("not found") {
                bail!("{}: library {}", from.display(), line.trim());
            }
            let Some(library) = line.split_whitespace().find(|word| word.starts_with('/')) else {
                continue;
            };
            self.library(archive, Path::new(library))?;
        }
        Ok(())
    }

    fn library(&self, archive: &mut Archive, from: &Path) -> Result<()> {
        let place = from.strip_prefix(&self.0).or_else(|_| from.strip_prefix("/"))?;
        let place = place.to_string_lossy();
        if !archive.has(&place) {
            archive.copy(&place, fs::canonicalize(from)?, 0o755);
        }
        Ok(())
    }

    /// The release of the one kernel in the packages.
    pub(crate) fn kernel_release(&self) -> Result<String> {
        let folder = self.0.join("lib/modules");
        let entry =
            fs::read_dir(&folder)?.next().context("the kernel package has no modules")??;
        Ok(entry.file_name().to_string_lossy().into_owned())
    }

    /// Adds kernel modules and their closure with the lists that modprobe reads; the paths come in load order.
    pub(crate) fn modules(&self, archive: &mut Archive, names: &[&str]) -> Result<Vec<String>> {
        let release = self.kernel_release()?;
        let base = format!("lib/modules/{release}");
        for entry in fs::read_dir(self.0.join(&base))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("modules.") {
                let place = format!("{base}/{}", entry.file_name().to_string_lossy());
                archive.copy(&place, entry.path(), 0o644);
            }
        }
        let mut loads = Vec::new();
        for name in names {
            let mut modprobe = run::command("/usr/sbin/modprobe");
            modprobe.arg("-d").arg(&self.0).args(["-S", &release, "--show-depends", name]);
            for line in run::output(&mut modprobe)?.lines() {
                // "insmod PATH.ko OPTIONS" or "builtin NAME"
                let Some(rest) = line.strip_prefix("insmod ") else { continue };
                let path = Path::new(rest.split_inclusive(".ko").next().unwrap_or(rest));
                let place = path.strip_prefix(&self.0)?.to_string_lossy().into_owned();
                if !archive.has(&place) {
                    archive.copy(&place, path, 0o644);
                    loads.push(format!("/{place}"));
                }
            }
        }
        Ok(loads)
    }
}
