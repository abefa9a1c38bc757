//! The life of a PV guest, through everything that a PVH guest goes through.

use anyhow::{Context, Result, ensure};

use super::migration::{NOMAD, WRITES, agents_killed, cancelled, cut_off, goes_on, moved};
use super::{LabPool, Table};
use crate::lab::{Guest, eventually};

pub(super) const CASES: Table = &[
    ("a_pv_guest_boots_with_its_devices", boots),
    ("a_pv_guest_gets_and_gives_back_vcpus_and_memory", grows),
    ("a_pv_guest_pauses_suspends_reboots_and_ends", lives),
];

/// Of the suite of migration.
pub(super) const LONG: Table = &[
    ("a_pv_guest_moves_while_it_runs", moves),
    ("a_pv_migration_that_is_cancelled_leaves_the_guest_where_it_was", |pool| {
        cancelled(pool, "pv")
    }),
    ("a_pv_migration_whose_agents_die_leaves_one_guest", |pool| agents_killed(pool, "pv")),
    ("a_pv_migration_whose_link_is_cut_leaves_the_guest_where_it_was", |pool| cut_off(pool, "pv")),
];

const PV: &str = "classic";

fn boots(pool: &mut LabPool) -> Result<()> {
    for host in &pool.hosts {
        host.ssh("cp /g/disk.img /var/lib/vmm/classic.img")?;
    }
    let disk = "/var/lib/vmm/classic.img";
    let more = [
        "--type",
        "pv",
        "--vcpus-max",
        "2",
        "--memory-max",
        "192M",
        "--disk",
        disk,
        "--nic",
        "br0",
    ];
    pool.create(PV, "disk:1", &[&more[..], &["--cpu-demand", "0.1"]].concat())?;
    let guest = Guest::until(&pool.ctl, PV, "it has used its disk and has its NIC", |guest| {
        guest.number("disk_written") > 1 << 20 && guest.word("nics").contains("eth0")
    })?;
    ensure!(guest.word("kind") == "PV", "the guest says that it is {guest:?}");
    ensure!(guest.word("selfcheck") == "ok" && guest.number("disk_errors") == 0, "{guest:?}");
    Ok(())
}

fn grows(pool: &mut LabPool) -> Result<()> {
    for count in [2, 1] {
        pool.ctl.text(&["vm", "vcpus", PV, &count.to_string()])?;
        Guest::until(&pool.ctl, PV, "the guest has the vCPUs", |guest| {
            guest.number("cpus_online") == count
        })?;
    }
    for mib in [96, 160] {
        pool.ctl.text(&["vm", "memory", PV, &format!("{mib}M")])?;
        let xl = pool.xl_row(PV)?.memory_mib;
        ensure!(xl.abs_diff(mib) <= mib / 20 + 1, "asked for {mib} MiB, xl says {xl}");
    }
    Ok(())
}

fn lives(pool: &mut LabPool) -> Result<()> {
    let boot = |pool: &LabPool| {
        let seen = Guest::look(&pool.ctl, PV)?.unwrap_or_default();
        Ok::<_, anyhow::Error>((seen.word("boot").to_owned(), seen.number("t")))
    };
    let (first, t) = boot(pool)?;
    for (away, back) in [("pause", "unpause"), ("suspend", "resume")] {
        pool.ctl.text(&["vm", away, PV])?;
        pool.ctl.text(&["vm", back, PV])?;
    }
    let after =
        Guest::until(&pool.ctl, PV, "the guest goes on", |guest| guest.number("t") > t + 2)?;
    ensure!(after.word("boot") == first, "it has rebooted: {after:?}");
    let domid = pool.xl_row(PV)?.domid;
    pool.ctl.text(&["vm", "reboot", PV])?;
    eventually("another domain runs it", || Ok(pool.xl_row(PV)?.domid != domid))?;
    Guest::until(&pool.ctl, PV, "it is up again", |guest| {
        guest.word("boot") != first && guest.number("t") > 0
    })?;
    pool.ctl.text(&["vm", "shutdown", PV])?;
    pool.until_phase(PV, "PoweredOff")?;
    pool.ctl.text(&["vm", "delete", PV]).map(drop)
}

fn logs_pv(pool: &LabPool, host: &str) -> Result<bool> {
    let hosts = pool.ctl.json(&["host", "list"])?;
    let found = hosts.as_array().into_iter().flatten().find(|one| one["name"] == *host);
    let told = found.and_then(|one| one["facts"]["logs_pv"].as_bool());
    told.with_context(|| format!("whether {host} logs PV guests is not in {hosts}"))
}

/// There and back, while it rewrites memory and checks it. Of a pool of two, one host's Xen logs no PV guest, unless Debian has but one
/// version: from there it moves standing still, and only when that is allowed.
fn moves(pool: &mut LabPool) -> Result<()> {
    pool.create(NOMAD, WRITES, &["--type", "pv", "--vcpus-max", "2", "--cpu-demand", "0.1"])?;
    let guest = Guest::until(&pool.ctl, NOMAD, "it writes", |guest| guest.number("dirtied") > 0)?;
    ensure!(guest.word("kind") == "PV", "the guest says that it is {guest:?}");
    for _ in 0..2 {
        let host = pool.host_of(NOMAD)?.name.clone();
        if !logs_pv(pool, &host)? {
            let shown = pool.ctl.text(&["vm", "migrate", NOMAD, "--dry-run"])?;
            println!("{host} logs no PV guest: {shown}");
            pool.ctl.refused(&["vm", "migrate", NOMAD], &["shadow paging", "ms are allowed"])?;
            goes_on(pool, &guest)?;
        }
        moved(pool)?;
    }
    // It obeys where it is.
    pool.ctl.text(&["vm", "vcpus", NOMAD, "2"])?;
    Guest::until(&pool.ctl, NOMAD, "a second vCPU", |guest| guest.number("cpus_online") == 2)?;
    pool.ctl.text(&["vm", "reboot", NOMAD])?;
    Guest::until(&pool.ctl, NOMAD, "it is up again", |now| {
        now.word("boot") != guest.word("boot") && now.number("t") > 0
    })?;
    pool.remove(NOMAD)
}
