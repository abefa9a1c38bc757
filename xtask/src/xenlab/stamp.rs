//! Stamps: a file beside a result that says what it was made of, so that nothing is made twice.
//!
//! Fails when a file to be stamped cannot be read; a missing stamp only means "make it again".

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};

/// What one result is made of.
pub(crate) struct Stamp {
    file: PathBuf,
    content: String,
}

impl Stamp {
    /// `result` is made of `content`, and by this very program.
    pub(crate) fn new(result: &Path, content: &str) -> Result<Self> {
        let mut stamp = Self::of_content(result, content);
        stamp.input(&std::env::current_exe()?)?;
        Ok(stamp)
    }

    /// The same, for a result that is dear and that a rebuilt xtask makes no differently.
    pub(crate) fn of_content(result: &Path, content: &str) -> Self {
        Self { file: result.with_added_extension("stamp"), content: content.to_owned() }
    }

    /// `result` is made of this file as well: its size and time of change stand for it.
    pub(crate) fn input(&mut self, file: &Path) -> Result<()> {
        let meta = fs::metadata(file).with_context(|| format!("read {}", file.display()))?;
        let changed = meta.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
        write!(self.content, "\n{} {} {changed}", file.display(), meta.len())?;
        Ok(())
    }

    pub(crate) fn is_fresh(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|old| old == self.content)
    }

    /// Call when the result is complete, and not before.
    pub(crate) fn write(&self) -> Result<()> {
        fs::write(&self.file, &self.content)
            .with_context(|| format!("write {}", self.file.display()))
    }
}
