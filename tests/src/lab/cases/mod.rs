//! The cases, in the order of an operator's day.

mod advice;
mod attack;
mod client;
mod devices;
mod end;
mod faults;
mod growth;
mod hostile;
mod life;
mod migration;
mod placement;
mod policy;
mod pv;
mod shared_disk;
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

/// The cases of a day; with those that take long, if asked for.
#[must_use]
pub fn all(long: bool) -> Vec<Case> {
    DAY.iter()
        .chain(if long { LONG } else { &[] })
        .chain(EVENING)
        .flat_map(|table| table.iter())
        .map(|(name, run)| Case { name, run: *run })
        .collect()
}

const DAY: &[Table] = &[
    placement::CASES,
    growth::CASES,
    client::CASES,
    life::CASES,
    devices::CASES,
    sleep::CASES,
    migration::CASES,
    shared_disk::CASES,
    policy::CASES,
    pv::CASES,
];
/// Run with the whole matrix alone.
const LONG: &[Table] =
    &[migration::LONG, shared_disk::LONG, advice::CASES, faults::CASES, hostile::CASES];
/// The last removes everything.
const EVENING: &[Table] = &[attack::CASES, end::CASES];

type Table = &'static [(&'static str, fn(&mut LabPool) -> Result<()>)];
