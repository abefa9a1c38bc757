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

/// Which cases are run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice {
    /// Also those that take long.
    pub long: bool,
    /// Also those that no run has shown to pass yet.
    pub untried: bool,
}

/// The cases of a day.
#[must_use]
pub fn all(choice: Choice) -> Vec<Case> {
    let long = if choice.long { LONG } else { &[] };
    let untried = if choice.untried { UNTRIED } else { &[] };
    [placement::CASES, growth::CASES, life::CASES, devices::CASES]
        .iter()
        .chain(long)
        .chain(untried)
        .chain(&[attack::CASES, end::CASES])
        .flat_map(|table| table.iter())
        .map(|(name, run)| Case { name, run: *run })
        .collect()
}

/// Run with the whole matrix.
const LONG: &[Table] = &[faults::CASES];
/// Written for features that came with them; a table moves into the day above when a run has shown it to pass.
const UNTRIED: &[Table] = &[sleep::CASES, policy::CASES, pv::CASES, hostile::CASES];

type Table = &'static [(&'static str, fn(&mut LabPool) -> Result<()>)];
