//! What the guest says of itself, read from its console.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::{Ctl, eventually};

/// The last report of a guest's workload program.
#[derive(Clone, Debug, Default)]
pub struct Guest {
    values: BTreeMap<String, String>,
}

impl Guest {
    /// Reads the guest's console through the product; `None` before its first report.
    ///
    /// # Errors
    /// The console cannot be read.
    pub fn look(ctl: &Ctl, vm: &str) -> Result<Option<Self>> {
        let console = ctl.text(&["vm", "console", vm])?;
        let report = console
            .lines()
            .rev()
            .find(|line| line.starts_with("VMM-GUEST t=") && line.contains("selfcheck="));
        Ok(report.map(|line| Self {
            values: line
                .split_whitespace()
                .filter_map(|word| word.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }))
    }

    /// Waits until the guest reports what `check` asks for; that report.
    ///
    /// # Errors
    /// It never did; with the end of its console.
    pub fn until(ctl: &Ctl, vm: &str, what: &str, check: impl Fn(&Self) -> bool) -> Result<Self> {
        let mut seen = None;
        eventually(what, || {
            seen = Self::look(ctl, vm)?;
            Ok(seen.as_ref().is_some_and(&check))
        })
        .with_context(|| format!("{vm} last said {seen:?}"))?;
        seen.context("no report")
    }

    /// A number that it reported; 0 when it did not.
    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        self.values.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// A word that it reported.
    #[must_use]
    pub fn word(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }
}
