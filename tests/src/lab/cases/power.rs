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
        loses_power(pool, Dead::Destination, EARLY)
    }),
    ("a_destination_that_loses_power_late_leaves_one_guest_at_most", |pool| {
        loses_power(pool, Dead::Destination, LATE)
    }),
    ("a_source_that_loses_power_early_leaves_nothing_at_the_destination", |pool| {
        loses_power(pool, Dead::Source, EARLY)
    }),
    ("a_source_that_loses_power_late_leaves_one_guest_at_most", |pool| {
        loses_power(pool, Dead::Source, LATE)
    }),
];

/// In the first pass, and when little is left or the guest is through.
const EARLY: Duration = Duration::from_millis(1200);
const LATE: Duration = Duration::from_millis(7000);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Dead {
    Source,
    Destination,
}

fn loses_power(pool: &mut LabPool, dead: Dead, moment: Duration) -> Result<()> {
    pool.create(NOMAD, WRITES, &["--vcpus-max", "2", "--cpu-demand", "0.1"])?;
    let before = Guest::until(&pool.ctl, NOMAD, "it writes", |guest| guest.number("dirtied") > 0)?;
    let from = pool.host_of(NOMAD)?.clone();
    let to = other(pool, &from)?.clone();
    let far = ["--to", &to.name, "--downtime-max", DOWNTIME_MS, "--no-wait"];
    let begun = pool.ctl.json(&[&["vm", "migrate", NOMAD][..], &far].concat())?;
    let task = begun["task"].as_str().with_context(|| format!("no task: {begun}"))?;
    thread::sleep(moment);
    let (gone, left) = if dead == Dead::Source { (&from, &to) } else { (&to, &from) };
    gone.cut_power()?;
    let ended = pool.ctl.run(&["task", "wait", task])?;
    let said = ended.as_ref().map_or_else(|refused| refused.message.trim(), |text| text.trim());
    let owner = pool.host_of(NOMAD)?.name.clone();
    println!("{dead:?} dead after {moment:?}, the VM is on {owner}: {said}");
    ensure!(ended.is_ok() == (owner == to.name), "{said}");
    is_silent(pool, gone)?;
    if owner == left.name {
        pool.until_phase(NOMAD, "Running")?;
        goes_on(pool, &before)?;
        pool.ctl.text(&["vm", "vcpus", NOMAD, "2"]).map(drop)
    } else {
        ensure!(moment == LATE || dead == Dead::Source, "it went to a host that was dead early");
        nothing_is_left(left)
    }
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

/// Not of the guest that was to come, nor of one that has gone.
fn nothing_is_left(host: &LabHost) -> Result<()> {
    eventually(&format!("nothing is left on {}", host.name), || {
        let rows = host.xl_list()?;
        Ok(rows.iter().all(|row| row.name != NOMAD))
    })
}
