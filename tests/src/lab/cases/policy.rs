//! What is done with a VM without asking its guest: its name, its share of the CPUs, what follows its end, its start with the host.

use anyhow::{Context, Result, ensure};

use super::{LabPool, Table};
use crate::lab::{Guest, create_arguments, eventually};

pub(super) const CASES: Table = &[
    ("scheduling_is_what_xl_says", scheduling),
    ("a_renamed_vm_is_the_same_vm", rename),
    ("a_guest_that_crashes_starts_again_when_it_shall", restart),
    ("a_vm_starts_with_its_host", autostart),
];
/// With the whole matrix.
pub(super) const LONG: Table =
    &[("a_guest_that_crashes_stays_to_be_looked_at_when_it_shall", preserve)];

const KNOBS: &str = "knobs";
const PHOENIX: &str = "phoenix";
const RELIC: &str = "relic";

fn scheduling(pool: &mut LabPool) -> Result<()> {
    let more = ["--weight", "512", "--cap", "70", "--cpus", "0", "--cpu-demand", "0.1"];
    pool.create(KNOBS, "idle", &more)?;
    // xl calls a host's only CPU "all".
    let first = if pool.host_of(KNOBS)?.cpus()? == 1 { "all" } else { "0" };
    expect_scheduling(pool, 512, 70, &format!("{first} / all"))?;
    pool.ctl.text(&[
        "vm",
        "set",
        KNOBS,
        "--weight",
        "128",
        "--cap",
        "0",
        "--cpus",
        "all",
        "--cpus-soft",
        "0",
    ])?;
    let affinity = format!("all / {first}");
    expect_scheduling(pool, 128, 0, &affinity)?;
    pool.ctl.text(&["vm", "reboot", KNOBS])?;
    Guest::until(&pool.ctl, KNOBS, "the guest is up", |guest| guest.number("t") > 0)?;
    // What was set is of the VM and not of its domain.
    expect_scheduling(pool, 128, 0, &affinity)
}

fn expect_scheduling(pool: &LabPool, weight: u32, cap: u32, affinity: &str) -> Result<()> {
    let host = pool.host_of(KNOBS)?;
    let credit = host.ssh(&format!("xl sched-credit2 -d {KNOBS}"))?;
    let words: Vec<&str> = credit.lines().last().unwrap_or_default().split_whitespace().collect();
    let said =
        words.iter().rev().take(2).rev().map(|word| word.parse()).collect::<Result<Vec<u32>, _>>();
    ensure!(
        said.as_ref().is_ok_and(|said| *said == [weight, cap]),
        "wanted {weight} and {cap}: {credit}"
    );
    let vcpus = host.ssh(&format!("xl vcpu-list {KNOBS}"))?;
    let row = vcpus.lines().last().unwrap_or_default();
    ensure!(row.trim_end().ends_with(affinity), "wanted {affinity:?}: {vcpus}");
    Ok(())
}

fn rename(pool: &mut LabPool) -> Result<()> {
    let (id, domid) = (pool.vm(KNOBS)?["vm"].clone(), pool.xl_row(KNOBS)?.domid);
    pool.ctl.refused(&["vm", "rename", KNOBS, "web"], &["web"])?;
    pool.ctl.text(&["vm", "rename", KNOBS, "dials"])?;
    ensure!(pool.vm("dials")?["vm"] == id, "another VM has the new name");
    eventually("xl knows it by its new name", || Ok(pool.xl_row("dials")?.domid == domid))?;
    pool.ctl.refused(&["vm", "show", KNOBS], &[KNOBS])?;
    pool.remove("dials")
}

fn restart(pool: &mut LabPool) -> Result<()> {
    let more = ["--on-crash", "restart", "--cpu-demand", "0.1"];
    pool.create(PHOENIX, "idle crash=15", &more)?;
    let first = Guest::look(&pool.ctl, PHOENIX)?.context("the guest is silent")?;
    let again = Guest::until(&pool.ctl, PHOENIX, "it has started again", |guest| {
        guest.word("boot") != first.word("boot")
    });
    pool.remove(PHOENIX)?;
    again.map(drop)
}

fn preserve(pool: &mut LabPool) -> Result<()> {
    let mut arguments = create_arguments(RELIC, "idle crash=3");
    arguments.extend(["--on-crash", "preserve", "--cpu-demand", "0.1"].map(str::to_owned));
    pool.ctl.text(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    pool.until_phase(RELIC, "Preserved")?;
    pool.xl_row(RELIC).context("its domain is gone")?;
    let console = pool.ctl.text(&["vm", "console", RELIC])?;
    ensure!(console.contains("VMM-GUEST-CRASH"), "its console is gone: {console}");
    pool.remove(RELIC)?;
    for host in &pool.hosts {
        ensure!(host.xl_list()?.iter().all(|row| row.name != RELIC), "{} still has it", host.name);
    }
    Ok(())
}

/// A real boot would take the host's memory, and with it the agent's files. What an agent sees after one is played: no mark of its
/// own in xenstore, and no domain of the VM.
fn autostart(pool: &mut LabPool) -> Result<()> {
    let more = ["--autostart", "1:0", "--cpu-demand", "0.1"];
    pool.create("early", "idle", &more)?;
    let host = pool.host_of("early")?.clone();
    let (id, first) = (pool.vm("early")?["vm"].clone(), pool.xl_row("early")?.domid);
    host.kill_agent()?;
    host.ssh("xl destroy early; xenstore-rm /tool/smps-vmm/agent")?;
    host.start_agent()?;
    eventually("it runs in another domain", || {
        let rows = host.xl_list()?;
        Ok(rows.iter().any(|row| row.name == "early" && row.domid != first))
    })
    .with_context(|| host.agent_log())?;
    // The manager may not have heard of it yet, and shows what was before.
    pool.until_all_are_heard()?;
    pool.until_phase("early", "Running")?;
    ensure!(pool.vm("early")?["vm"] == id, "another VM runs");
    pool.remove("early")
}
