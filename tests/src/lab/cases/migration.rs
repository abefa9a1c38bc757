//! Guests that move between two real hosts while they work. That a guest did not reboot shows in the id of its boot; that no page was
//! lost shows in its own check of its memory, which it rewrites all the time.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::{LabPool, Table};
use crate::lab::{Guest, LabHost, eventually};

pub(super) const CASES: Table = &[("a_guest_that_writes_moves_to_another_host_and_back", moves)];
/// Run with the whole matrix alone.
pub(super) const LONG: Table = &[
    ("a_migration_that_is_cancelled_at_any_moment_leaves_the_guest_where_it_was", cancel),
    ("a_migration_whose_agents_die_leaves_one_guest", agents_die),
    ("a_guest_moves_twenty_times", twenty),
];

/// Rewrites memory all the time and checks it.
const NOMAD: &str = "nomad";
/// When a migration is taken back: at once, in its first pass, and when it may be done.
const MOMENTS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_millis(1500),
    Duration::from_millis(3000),
];

/// The host that it is not on.
fn other<'a>(pool: &'a LabPool, here: &LabHost) -> Result<&'a LabHost> {
    pool.hosts.iter().find(|host| host.name != here.name).context("a second host")
}

/// The same boot, later, with all memory as it was.
fn goes_on(pool: &LabPool, before: &Guest) -> Result<()> {
    let (t, dirtied) = (before.number("t"), before.number("dirtied"));
    let after = Guest::until(&pool.ctl, NOMAD, "the guest goes on", |guest| {
        guest.word("boot") != before.word("boot")
            || (guest.number("t") > t && guest.number("dirtied") > dirtied + (4 << 20))
    })?;
    ensure!(after.word("boot") == before.word("boot"), "it has rebooted: {before:?} {after:?}");
    ensure!(after.word("selfcheck") == "ok", "its memory was damaged: {after:?}");
    Ok(())
}

/// Nothing of it is on that host.
fn is_gone_from(host: &LabHost) -> Result<()> {
    eventually(&format!("{NOMAD} is gone from {}", host.name), || {
        Ok(host.xl_list()?.iter().all(|row| row.name != NOMAD))
    })
}

/// Moves it to its other host and looks that it is there, whole, and nowhere else.
fn moved(pool: &LabPool) -> Result<()> {
    let before = Guest::look(&pool.ctl, NOMAD)?.context("the guest is silent")?;
    let from = pool.host_of(NOMAD)?.clone();
    let to = other(pool, &from)?.name.clone();
    pool.ctl.text(&["vm", "migrate", NOMAD, "--to", &to])?;
    ensure!(pool.host_of(NOMAD)?.name == to, "it is not on {to}");
    is_gone_from(&from)?;
    pool.xl_row(NOMAD)?;
    goes_on(pool, &before)
}

fn create(pool: &mut LabPool) -> Result<()> {
    pool.create(NOMAD, "dirty:1:8", &["--vcpus-max", "2", "--cpu-demand", "0.1"])
}

fn moves(pool: &mut LabPool) -> Result<()> {
    create(pool)?;
    for _ in 0..2 {
        moved(pool)?;
    }
    let here = pool.host_of(NOMAD)?.name.clone();
    pool.ctl.refused(&["vm", "migrate", NOMAD, "--to", &here], &["already"])?;
    // It obeys where it is. A host that has fewer processors than it uses is refused.
    pool.ctl.text(&["vm", "vcpus", NOMAD, "2"])?;
    Guest::until(&pool.ctl, NOMAD, "a second vCPU", |guest| guest.number("cpus_online") == 2)?;
    let there = other(pool, pool.host_of(NOMAD)?)?.name.clone();
    pool.ctl.refused(&["vm", "migrate", NOMAD, "--to", &there], &["vCPUs"])?;
    pool.remove(NOMAD)
}

fn twenty(pool: &mut LabPool) -> Result<()> {
    create(pool)?;
    (1..=20).try_for_each(|move_number| {
        moved(pool).with_context(|| format!("move {move_number} of 20"))
    })?;
    pool.remove(NOMAD)
}

/// Wherever it is then, it is whole, and on one host.
fn is_on_one_host(pool: &LabPool, before: &Guest) -> Result<()> {
    pool.until_phase(NOMAD, "Running")?;
    let here = pool.host_of(NOMAD)?.clone();
    is_gone_from(other(pool, &here)?)?;
    goes_on(pool, before)
}

fn cancel(pool: &mut LabPool) -> Result<()> {
    create(pool)?;
    for moment in MOMENTS {
        let before = Guest::look(&pool.ctl, NOMAD)?.context("the guest is silent")?;
        let to = other(pool, pool.host_of(NOMAD)?)?.name.clone();
        let begun = pool.ctl.json(&["vm", "migrate", NOMAD, "--to", &to, "--no-wait"])?;
        let task = begun["task"].as_str().with_context(|| format!("no task: {begun}"))?.to_owned();
        thread::sleep(moment);
        // One that is done already says so.
        let _ = pool.ctl.run(&["task", "cancel", &task])?;
        let _ = pool.ctl.run(&["task", "wait", &task])?;
        is_on_one_host(pool, &before).with_context(|| format!("cancelled after {moment:?}"))?;
    }
    pool.remove(NOMAD)
}

fn agents_die(pool: &mut LabPool) -> Result<()> {
    create(pool)?;
    for of_source in [true, false] {
        let before = Guest::look(&pool.ctl, NOMAD)?.context("the guest is silent")?;
        let from = pool.host_of(NOMAD)?.clone();
        let to = other(pool, &from)?.clone();
        let (ctl, name) = (pool.ctl.clone(), to.name.clone());
        let migrating = thread::spawn(move || ctl.run(&["vm", "migrate", NOMAD, "--to", &name]));
        thread::sleep(Duration::from_millis(1200));
        let victim = if of_source { &from } else { &to };
        victim.kill_agent()?;
        victim.start_agent()?;
        // Whether it was through before is not known; that it ends is.
        migrating.join().map_err(|_| anyhow!("vmmctl's thread"))??.ok();
        is_on_one_host(pool, &before)
            .with_context(|| format!("agent on {} killed", victim.name))?;
    }
    pool.remove(NOMAD)
}
