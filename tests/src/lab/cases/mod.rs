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
mod power;
mod processors;
mod pv;
mod shared_disk;
mod sleep;

use anyhow::Result;
use clap::ValueEnum;

use super::LabPool;

/// A case: a sentence, and what makes it true.
pub struct Case {
    /// The sentence.
    pub name: &'static str,
    /// Runs it.
    pub run: fn(&mut LabPool) -> Result<()>,
}

/// Which cases.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// An operator's day.
    E2e,
    /// Guests that move, those cases that take long included.
    Migration,
    /// Hosts that lose their power while a guest moves. After each case the hosts are of no use.
    Power,
    /// Guests that move between hosts of which the second has the lesser processor.
    Processors,
}

impl Suite {
    /// As its summary calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::E2e => "e2e",
            Self::Migration => "migration",
            Self::Power => "power",
            Self::Processors => "processors",
        }
    }

    /// Its cases; with those that take long, if asked for.
    #[must_use]
    pub fn cases(self, long: bool) -> Vec<Case> {
        let (morning, day, long, evening): (&[Table], _, _, _) = match self {
            Self::E2e => (&[placement::CASES], DAY, if long { LONG } else { &[] }, EVENING),
            Self::Migration => (&[placement::HOSTS], MOVES, &[], &[end::CASES] as &[Table]),
            Self::Power => (&[placement::HOSTS], &[power::CASES], &[], &[]),
            Self::Processors => (&[placement::HOSTS], &[processors::CASES], &[], &[end::CASES]),
        };
        let tables = [morning, day, long, evening].into_iter().flatten();
        tables.flat_map(|table| table.iter()).map(|(name, run)| Case { name, run: *run }).collect()
    }
}

const DAY: &[Table] = &[
    growth::CASES,
    client::CASES,
    life::CASES,
    devices::CASES,
    sleep::CASES,
    migration::CASES,
    policy::CASES,
    pv::CASES,
];
const MOVES: &[Table] = &[migration::CASES, migration::LONG, pv::LONG, sleep::LONG];
/// Run with the whole matrix alone.
const LONG: &[Table] = &[
    migration::LONG,
    pv::LONG,
    sleep::LONG,
    policy::LONG,
    shared_disk::LONG,
    advice::CASES,
    faults::CASES,
    hostile::CASES,
];
/// The last removes everything.
const EVENING: &[Table] = &[attack::CASES, end::CASES];

type Table = &'static [(&'static str, fn(&mut LabPool) -> Result<()>)];
