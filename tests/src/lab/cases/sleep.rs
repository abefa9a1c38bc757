//! A guest sleeps and goes on: suspended in memory, or saved to a file. That it did not reboot shows in the id of its boot; that
//! its memory came back whole shows in its own check of it.

use anyhow::{Context, Result, ensure};

use super::{LabPool, Table};
use crate::lab::Guest;

pub(super) const CASES: Table = &[
    ("a_suspended_guest_goes_on_where_it_was", suspend),
    ("a_damaged_saved_file_is_refused_and_a_whole_one_continues_the_guest", save_and_restore),
];

/// Rewrites memory all the time and checks it.
const NAP: &str = "nap";
const FILE: &str = "/var/lib/vmm/nap.save";
const DAMAGED: &str = "/var/lib/vmm/nap.damaged";
/// What happens to a copy of the file.
const DAMAGES: &[(&str, &str)] = &[
    ("cut short by a byte", "truncate -s $(($(stat -c %s F) - 1)) D"),
    ("cut in half", "truncate -s $(($(stat -c %s F) / 2)) D"),
    ("empty", "truncate -s 0 D"),
    (
        "one byte changed in the middle",
        "printf X | dd of=D bs=1 seek=$(($(stat -c %s F) / 2)) conv=notrunc 2>/dev/null",
    ),
    (
        "one byte changed near its beginning",
        "printf X | dd of=D bs=1 seek=100 conv=notrunc 2>/dev/null",
    ),
];

fn suspend(pool: &mut LabPool) -> Result<()> {
    pool.create(NAP, "dirty:2:8", &["--vcpus-max", "2", "--cpu-demand", "0.1"])?;
    for _ in 0..2 {
        let before = Guest::look(&pool.ctl, NAP)?.context("the guest is silent")?;
        pool.ctl.text(&["vm", "suspend", NAP])?;
        pool.until_phase(NAP, "Suspended")?;
        pool.ctl.refused(&["vm", "memory", NAP, "96M"], &["suspended"])?;
        pool.ctl.text(&["vm", "resume", NAP])?;
        pool.until_phase(NAP, "Running")?;
        goes_on(pool, &before)?;
    }
    Ok(())
}

/// The same boot, later, with all memory as it was.
fn goes_on(pool: &LabPool, before: &Guest) -> Result<()> {
    let dirtied = before.number("dirtied");
    let after = Guest::until(&pool.ctl, NAP, "the guest goes on", |guest| {
        guest.word("boot") != before.word("boot") || guest.number("dirtied") > dirtied + (16 << 20)
    })?;
    ensure!(after.word("boot") == before.word("boot"), "it has rebooted: {before:?} {after:?}");
    ensure!(after.word("selfcheck") == "ok", "its memory was damaged: {after:?}");
    Ok(())
}

fn save_and_restore(pool: &mut LabPool) -> Result<()> {
    let before = Guest::look(&pool.ctl, NAP)?.context("the guest is silent")?;
    let host = pool.host_of(NAP)?.clone();
    pool.ctl.text(&["vm", "save", NAP, FILE])?;
    pool.until_phase(NAP, "Saved")?;
    let gone =
        |name: &str| Ok::<_, anyhow::Error>(host.xl_list()?.iter().all(|row| row.name != name));
    ensure!(gone(NAP)?, "{} still has its domain", host.name);
    pool.ctl.refused(&["vm", "start", NAP], &["saved"])?;
    for (what, command) in DAMAGES {
        let command = command.replace('F', FILE).replace('D', DAMAGED);
        host.ssh(&format!("cp {FILE} {DAMAGED}; {command}"))?;
        pool.ctl
            .refused(&["vm", "restore", NAP, "--path", DAMAGED], &[DAMAGED])
            .with_context(|| format!("a file {what}"))?;
        ensure!(gone(NAP)?, "a domain is left after a file {what}");
        pool.until_phase(NAP, "Saved")?;
    }
    pool.ctl.text(&["vm", "restore", NAP])?;
    pool.until_phase(NAP, "Running")?;
    goes_on(pool, &before)?;
    host.ssh(&format!("rm -f {DAMAGED}"))?;
    // Adopted by no other way than the others: it obeys.
    pool.ctl.text(&["vm", "vcpus", NAP, "2"])?;
    Guest::until(&pool.ctl, NAP, "a second vCPU", |guest| guest.number("cpus_online") == 2)?;
    // It would take its host's only processor from the others.
    pool.remove(NAP)
}
