//! The cases, in the order of an operator's day.

mod attack;
mod devices;
mod end;
mod faults;
mod growth;
mod hostile;
mod life;
mod placement;
mod policy;
mod pv;
mod sleep;

use anyhow::Result;

use super::LabPool;

/// A case: a sentence, and what makes it true.
pub struct Case {
    /// The sentence.
    pub name: &'static str,
    /// Runs it.
    pub run: fn(&mut LabPool) -> Result<()>,
}

/// All of them. Those that no run has shown to pass yet come only when `with_untried` asks for them.
#[must_use]
pub fn all(with_untried: bool) -> Vec<Case> {
    let untried = if with_untried { UNTRIED } else { &[] };
    [placement::CASES, growth::CASES, life::CASES]
        .iter()
        .chain(untried)
        .chain(&[attack::CASES, end::CASES])
        .flat_map(|table| table.iter())
        .map(|(name, run)| Case { name, run: *run })
        .collect()
}

/// Written for features that came with them; a table moves into the day above when a run has shown it to pass.
const UNTRIED: &[Table] =
    &[devices::CASES, faults::CASES, sleep::CASES, policy::CASES, pv::CASES, hostile::CASES];

type Table = &'static [(&'static str, fn(&mut LabPool) -> Result<()>)];
