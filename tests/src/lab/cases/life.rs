//! The life of a VM, through pauses, reboots, crashes, and the death of agent and manager.

use anyhow::{Context, Result, ensure};

use super::{LabPool, Table};
use crate::lab::{Guest, eventually};

pub(super) const CASES: Table = &[
    ("a_paused_guest_stands_still_and_goes_on", pause),
    ("an_agent_that_is_killed_leaves_its_guests_running_and_adopts_them", agent_killed),
    ("the_manager_keeps_its_state_over_a_crash", manager_killed),
    ("a_reboot_keeps_the_vm_and_changes_the_domain", reboot),
    ("a_guest_that_crashes_is_noticed", crash),
    ("a_guest_powers_off_when_asked_and_starts_again", shutdown_and_start),
];

const DOOMED: &str = "doomed";

fn pause(pool: &mut LabPool) -> Result<()> {
    pool.ctl.text(&["vm", "pause", "db"])?;
    pool.until_phase("db", "Paused")?;
    let time = |pool: &LabPool| Ok::<_, anyhow::Error>(pool.xl_row("db")?.cpu_time_s);
    let first = time(pool)?;
    std::thread::sleep(std::time::Duration::from_secs(3));
    ensure!((time(pool)? - first).abs() < 0.05, "a paused guest used CPU time");
    pool.ctl.refused(&["vm", "vcpus", "db", "1"], &["paused"])?;
    pool.ctl.text(&["vm", "unpause", "db"])?;
    let seen = Guest::look(&pool.ctl, "db")?.map_or(0, |guest| guest.number("t"));
    Guest::until(&pool.ctl, "db", "the guest goes on", |guest| guest.number("t") > seen).map(drop)
}

fn agent_killed(pool: &mut LabPool) -> Result<()> {
    let host = pool.host_of("web")?.clone();
    let before = pool.xl_row("web")?;
    host.kill_agent()?;
    std::thread::sleep(std::time::Duration::from_secs(2));
    let during =
        host.xl_list()?.into_iter().find(|row| row.name == "web").context("the guest is gone")?;
    ensure!(during.domid == before.domid, "another domain: {before:?} {during:?}");
    host.start_agent()?;
    let seen =
        Guest::until(&pool.ctl, "web", "the console is back", |guest| guest.number("t") > 0)?
            .number("t");
    Guest::until(&pool.ctl, "web", "the guest runs on", |guest| guest.number("t") > seen)?;
    pool.until_phase("web", "Running")?;
    let after = pool.xl_row("web")?;
    ensure!(
        after.domid == before.domid && after.cpu_time_s >= before.cpu_time_s,
        "{before:?} {after:?}"
    );
    // Adopted means that it obeys.
    pool.ctl.text(&["vm", "vcpus", "web", "2"]).map(drop)
}

fn manager_killed(pool: &mut LabPool) -> Result<()> {
    let names = |pool: &LabPool| -> Result<Vec<String>> {
        let vms = pool.ctl.json(&["vm", "list"])?;
        Ok(vms
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|vm| {
                Some(format!("{} {}", vm["spec"]["name"].as_str()?, vm["host"].as_str()?))
            })
            .collect())
    };
    let before = names(pool)?;
    pool.manager.kill()?;
    pool.manager.start()?;
    pool.until_all_are_heard()?;
    let after = names(pool)?;
    ensure!(before == after && !after.is_empty(), "before: {before:?}, after: {after:?}");
    pool.until_phase("web", "Running")
}

fn reboot(pool: &mut LabPool) -> Result<()> {
    let (id, domid) = (pool.vm("db")?["vm"].clone(), pool.xl_row("db")?.domid);
    pool.ctl.text(&["vm", "reboot", "db"])?;
    eventually("another domain runs it", || Ok(pool.xl_row("db")?.domid != domid))?;
    ensure!(pool.vm("db")?["vm"] == id, "the VM's id has changed");
    Guest::until(&pool.ctl, "db", "the guest is up again", |guest| {
        (1..60).contains(&guest.number("t"))
    })
    .map(drop)
}

fn crash(pool: &mut LabPool) -> Result<()> {
    let mut arguments = crate::lab::create_arguments(DOOMED, "idle crash=3");
    arguments.extend(["--cpu-demand".into(), "0.1".into()]);
    pool.ctl.text(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    pool.until_phase(DOOMED, "Crashed")?;
    for host in &pool.hosts {
        ensure!(host.xl_list()?.iter().all(|row| row.name != DOOMED), "{} still has it", host.name);
    }
    pool.ctl.text(&["vm", "delete", DOOMED]).map(drop)
}

fn shutdown_and_start(pool: &mut LabPool) -> Result<()> {
    pool.ctl.text(&["vm", "shutdown", "db"])?;
    pool.until_phase("db", "PoweredOff")?;
    for host in &pool.hosts {
        ensure!(host.xl_list()?.iter().all(|row| row.name != "db"), "{} still has it", host.name);
    }
    pool.ctl.text(&["vm", "start", "db"])?;
    Guest::until(&pool.ctl, "db", "the guest is up", |guest| guest.number("t") > 0).map(drop)
}
