//! The cases, in the order of an operator's day.

mod attack;
mod end;
mod growth;
mod life;
mod placement;

use anyhow::Result;

use super::LabPool;

/// A case: a sentence, and what makes it true.
pub struct Case {
    /// The sentence.
    pub name: &'static str,
    /// Runs it.
    pub run: fn(&mut LabPool) -> Result<()>,
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Case> {
    [placement::CASES, growth::CASES, life::CASES, attack::CASES, end::CASES]
        .into_iter()
        .flatten()
        .map(|(name, run)| Case { name, run: *run })
        .collect()
}

type Table = &'static [(&'static str, fn(&mut LabPool) -> Result<()>)];
