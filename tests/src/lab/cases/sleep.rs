//! A guest sleeps and goes on: suspended in memory, or saved to a file. That it did not reboot shows in the id of its boot; that
//! its memory came back whole shows in its own check of it.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{LabPool, Table};
use crate::lab::Guest;

pub(super) const CASES: Table = &[
    ("a_suspended_guest_goes_on_where_it_was", suspend),
    ("a_damaged_saved_file_is_refused_and_a_whole_one_continues_the_guest", save_and_restore),
];

/// With the moves: its two files are as large as its guests.
pub(super) const LONG: Table = &[("a_guest_goes_to_xl_and_back_by_files_in_its_format", by_xl)];

/// Rewrites memory all the time and checks it.
const NAP: &str = "nap";
const FILE: &str = "/var/lib/vmm/nap.save";
const DAMAGED: &str = "/var/lib/vmm/nap.damaged";
/// Another one: ours for xl, and xl's for us.
const GUEST_OF_BOTH: &str = "commuter";
const OURS: &str = "/var/lib/vmm/commuter.ours";
const XLS: &str = "/var/lib/vmm/commuter.xls";
/// How long it is xl's.
const AT_XL: Duration = Duration::from_secs(3);
/// What happens to a copy of the file.
const DAMAGES: &[(&str, &str)] = &[
    ("cut short by a byte", "truncate -s $(($(stat -c %s F) - 1)) D"),
    (
        "one byte changed in the middle",
        "printf X | dd of=D bs=1 seek=$(($(stat -c %s F) / 2)) conv=notrunc 2>/dev/null",
    ),
    ("cut in half", "truncate -s $(($(stat -c %s F) / 2)) D"),
    ("empty", "truncate -s 0 D"),
    (
        "one byte changed near its beginning",
        "printf X | dd of=D bs=1 seek=100 conv=notrunc 2>/dev/null",
    ),
];

fn suspend(pool: &mut LabPool) -> Result<()> {
    pool.create(NAP, "dirty:2:8", &["--vcpus-max", "2", "--cpu-demand", "0.1"])?;
    let rounds = if pool.is_full { 2 } else { 1 };
    for _ in 0..rounds {
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
    has_gone_on(pool, NAP, before)
}

fn has_gone_on(pool: &LabPool, vm: &str, before: &Guest) -> Result<()> {
    let dirtied = before.number("dirtied");
    let after = Guest::until(&pool.ctl, vm, "the guest goes on", |guest| {
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

/// Saved for xl, restored by it, saved by it, restored by us.
fn by_xl(pool: &mut LabPool) -> Result<()> {
    for kind in ["pvh", "pv"] {
        let more = ["--type", kind, "--cpu-demand", "0.1"];
        pool.create(GUEST_OF_BOTH, "dirty:1:8", &more)?;
        there_and_back(pool).with_context(|| kind.to_owned())?;
        pool.remove(GUEST_OF_BOTH)?;
    }
    Ok(())
}

fn there_and_back(pool: &LabPool) -> Result<()> {
    let before = Guest::look(&pool.ctl, GUEST_OF_BOTH)?.context("the guest is silent")?;
    let host = pool.host_of(GUEST_OF_BOTH)?.clone();
    pool.ctl.text(&["vm", "save", GUEST_OF_BOTH, OURS, "--format", "xl"])?;
    pool.until_phase(GUEST_OF_BOTH, "Saved")?;
    host.verify_stream(OURS)?;
    host.ssh(&format!("xl restore -e {OURS} >&2"))?;
    // While xl has it, it does not run a second time.
    pool.ctl.refused(&["vm", "restore", GUEST_OF_BOTH], &["uuid"])?;
    host.ssh(&format!("rm {OURS}"))?;
    thread::sleep(AT_XL);
    host.ssh(&format!("xl save {GUEST_OF_BOTH} {XLS} >&2"))?;
    host.verify_stream(XLS)?;
    pool.ctl.text(&["vm", "restore", GUEST_OF_BOTH, "--path", XLS])?;
    pool.until_phase(GUEST_OF_BOTH, "Running")?;
    has_gone_on(pool, GUEST_OF_BOTH, &before)
}
