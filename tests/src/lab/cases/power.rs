//! Hosts that lose their power while a guest moves: their emulator is killed. What was in the dead host's memory is lost with it; nothing
//! else may be, and the guest runs once or, when its host is the dead one, not at all. Each case needs hosts of its own.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::migration::{DOWNTIME_MS, NOMAD, WRITES, goes_on, other};
use super::{LabPool, Table};
use crate::lab::{Guest, LabHost, eventually};

pub(super) const CASES: Table = &[
    ("a_destination_that_loses_power_early_leaves_the_guest_where_it_was", |pool| {
        loses_power(pool, Dead::Destination, Moment::FirstPass)
    }),
    ("a_destination_that_loses_power_late_takes_the_guest_with_it", |pool| {
        loses_power(pool, Dead::Destination, Moment::HandedOver)
    }),
    ("a_source_that_loses_power_early_leaves_nothing_at_the_destination", |pool| {
        loses_power(pool, Dead::Source, Moment::FirstPass)
    }),
    ("a_source_that_loses_power_late_is_not_missed", |pool| {
        loses_power(pool, Dead::Source, Moment::HandedOver)
    }),
];

/// After the beginning of a move.
const EARLY: Duration = Duration::from_millis(1200);
const LOOK: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Dead {
    Source,
    Destination,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// While memory is sent for the first time.
    FirstPass,
    /// Once the manager has written down that it is the other host's.
    HandedOver,
}

fn loses_power(pool: &mut LabPool, dead: Dead, moment: Moment) -> Result<()> {
    pool.create(NOMAD, WRITES, &["--vcpus-max", "2", "--cpu-demand", "0.1"])?;
    let before = Guest::until(&pool.ctl, NOMAD, "it writes", |guest| guest.number("dirtied") > 0)?;
    let from = pool.host_of(NOMAD)?.clone();
    let to = other(pool, &from)?.clone();
    let far = ["--to", &to.name, "--downtime-max", DOWNTIME_MS, "--no-wait"];
    let begun = pool.ctl.json(&[&["vm", "migrate", NOMAD][..], &far].concat())?;
    let task = begun["task"].as_str().with_context(|| format!("no task: {begun}"))?;
    match moment {
        Moment::FirstPass => thread::sleep(EARLY),
        Moment::HandedOver => is_handed_over(pool, &to)?,
    }
    let (gone, left) = if dead == Dead::Source { (&from, &to) } else { (&to, &from) };
    gone.cut_power()?;
    is_silent(pool, gone)?;
    let owner = if moment == Moment::HandedOver { &to } else { &from };
    if owner.name == gone.name {
        // What was in its memory is lost. That it runs nowhere else is what counts.
        runs_nowhere(left)?;
        ensure!(pool.host_of(NOMAD)?.name == gone.name, "it was given to another host");
        return Ok(());
    }
    let ended = pool.ctl.run(&["task", "wait", task])?;
    let said = ended.as_ref().map_or_else(|refused| refused.message.trim(), |text| text.trim());
    println!("{dead:?} dead at {moment:?}: {said}");
    ensure!(ended.is_ok() == (moment == Moment::HandedOver), "{said}");
    ensure!(pool.host_of(NOMAD)?.name == left.name, "it is not on {}", left.name);
    pool.until_phase(NOMAD, "Running")?;
    goes_on(pool, &before)?;
    // It obeys.
    pool.ctl.text(&["vm", "vcpus", NOMAD, "2"]).map(drop)
}

fn is_handed_over(pool: &LabPool, to: &LabHost) -> Result<()> {
    eventually(&format!("it is {}'s", to.name), || {
        thread::sleep(LOOK);
        Ok(pool.host_of(NOMAD)?.name == to.name)
    })
}

fn is_silent(pool: &LabPool, gone: &LabHost) -> Result<()> {
    eventually(&format!("{} is missed", gone.name), || {
        let hosts = pool.ctl.json(&["host", "list"])?;
        let health = hosts.as_array().into_iter().flatten().find(|one| one["name"] == *gone.name);
        match health.and_then(|one| one["health"].as_str()) {
            Some(health) => Ok(health != "Up"),
            None => bail!("{} is not in {hosts}", gone.name),
        }
    })
}

/// A copy that stands still waits for a verdict.
fn runs_nowhere(host: &LabHost) -> Result<()> {
    eventually(&format!("it does not run on {}", host.name), || {
        let rows = host.xl_list()?;
        Ok(rows.iter().all(|row| row.name != NOMAD || row.state.contains(['p', 's'])))
    })
}
