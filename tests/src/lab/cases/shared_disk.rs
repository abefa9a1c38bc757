//! A guest that writes to a disk which both hosts reach, and moves while it does: it reads back what it wrote, whichever host it is on.
//! Every block is read back after it was written, and so is one that was written long before, past all caches of the guest.

use anyhow::{Context, Result, ensure};

use super::migration::DOWNTIME_MS;
use super::{LabPool, Table};
use crate::lab::{Guest, LabHost, eventually};

/// Run with the whole matrix alone: over the emulated network each move takes minutes.
pub(super) const LONG: Table = &[
    ("a_guest_moves_while_it_writes_to_a_disk_that_both_hosts_reach", moves),
    ("a_guest_with_a_shared_disk_moves_ten_times", ten_times),
];

const SCRIBE: &str = "scribe";
/// The lab's storage network: the same bytes under the same name on each host.
const DISK: &str = "/san/disk0";
/// More than half of the disk, so that blocks are read that were written on the other host.
const AFTERWARDS: u64 = 9 << 20;

fn create(pool: &mut LabPool) -> Result<()> {
    pool.create(SCRIBE, "disk:4", &["--disk", DISK, "--cpu-demand", "0.1"])?;
    Guest::until(&pool.ctl, SCRIBE, "it writes", |guest| guest.number("disk_written") > 4 << 20)
        .map(drop)
}

/// Moves it to its other host, and looks that it goes on writing there what it reads back.
fn moved(pool: &LabPool) -> Result<()> {
    let before = Guest::look(&pool.ctl, SCRIBE)?.context("the guest is silent")?;
    let from = pool.host_of(SCRIBE)?.clone();
    let to = pool.hosts.iter().find(|host| host.name != from.name).context("a second host")?;
    pool.ctl.text(&["vm", "migrate", SCRIBE, "--to", &to.name, "--downtime-max", DOWNTIME_MS])?;
    ensure!(pool.host_of(SCRIBE)?.name == to.name, "it is not on {}", to.name);
    let written = before.number("disk_written") + AFTERWARDS;
    let after = Guest::until(&pool.ctl, SCRIBE, "it goes on writing", |guest| {
        guest.word("boot") != before.word("boot")
            || guest.word("selfcheck") != "ok"
            || guest.number("disk_written") > written
    })?;
    ensure!(after.word("boot") == before.word("boot"), "it has rebooted: {before:?} {after:?}");
    ensure!(after.word("selfcheck") == "ok", "its disk was damaged: {after:?}");
    ensure!(after.number("disk_errors") == 0, "its disk failed: {after:?}");
    is_free_on(&from)
}

/// No backend of that host has the disk any more.
fn is_free_on(host: &LabHost) -> Result<()> {
    eventually(&format!("the disk is free on {}", host.name), || {
        let backends =
            host.ssh("xenstore-ls -f /local/domain/0/backend/vbd 2>/dev/null || true")?;
        Ok(!backends.contains(DISK))
    })
}

fn moves(pool: &mut LabPool) -> Result<()> {
    create(pool)?;
    moved(pool)?;
    // Nobody else may have the disk, on either host.
    for host in &pool.hosts {
        let mut other = crate::lab::create_arguments("intruder", "idle");
        let more = ["--disk", DISK, "--pin", &host.name].map(str::to_owned);
        other.extend(more);
        let arguments: Vec<&str> = other.iter().map(String::as_str).collect();
        pool.ctl.refused(&arguments, &["uses a disk of this one"])?;
    }
    moved(pool)?;
    pool.remove(SCRIBE)
}

fn ten_times(pool: &mut LabPool) -> Result<()> {
    create(pool)?;
    for n in 1..=10 {
        moved(pool).with_context(|| format!("move {n}"))?;
    }
    pool.remove(SCRIBE)
}
