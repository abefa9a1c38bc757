//! Guests that are hostile in one way each, on a host together with one that is not: they may harm themselves. The agent answers
//! about them and ends them, and the other guest does not notice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::devices::PLUG;
use super::{LabPool, Table};
use crate::lab::{Guest, create_arguments, eventually};

pub(super) const CASES: Table = &[
    ("a_guest_that_writes_nonsense_harms_itself_alone", nonsense),
    ("a_guest_that_floods_xenstore_harms_itself_alone", flood),
    ("a_guest_with_nonsense_device_states_harms_itself_alone", states),
    ("a_guest_that_clings_to_its_devices_harms_itself_alone", clinging),
    ("a_guest_that_removes_its_frontends_harms_itself_alone", remove),
    ("a_guest_that_fills_its_quota_harms_itself_alone", quota),
    ("a_disk_for_a_guest_that_never_answers_is_taken_back", deaf_to_a_disk),
    ("a_nic_for_a_guest_that_never_answers_is_taken_back", deaf_to_a_nic),
    ("a_guest_that_crashes_while_a_nic_is_plugged_is_noticed", crash_on_plug),
];

const EVIL: &str = "evil";
const DOOMED: &str = "doomed";
const IMAGE: &str = "/var/lib/vmm/evil.img";
/// How long anything may take that has nothing to do with the hostile guest. Under emulation a command takes seconds.
const UNDISTURBED: Duration = Duration::from_secs(40);

fn nonsense(pool: &mut LabPool) -> Result<()> {
    beside(pool, "nonsense")
}

fn flood(pool: &mut LabPool) -> Result<()> {
    beside(pool, "flood")
}

fn states(pool: &mut LabPool) -> Result<()> {
    beside(pool, "states")
}

fn clinging(pool: &mut LabPool) -> Result<()> {
    beside(pool, "clinging")
}

fn remove(pool: &mut LabPool) -> Result<()> {
    beside(pool, "remove")
}

fn quota(pool: &mut LabPool) -> Result<()> {
    beside(pool, "quota")
}

/// Creates a guest on the host of the well-behaved one.
fn create(pool: &mut LabPool, workload: &str, more: &[&str]) -> Result<()> {
    let host = pool.host_of(PLUG)?.clone();
    host.ssh(&format!("truncate -s 16M {IMAGE}"))?;
    let others: Vec<String> = pool
        .hosts
        .iter()
        .filter(|other| other.name != host.name)
        .map(|other| other.name.clone())
        .collect();
    for other in &others {
        pool.ctl.text(&["host", "maintenance", other, "on"])?;
    }
    let all = [more, &["--cpu-demand", "0.05"]].concat();
    let created = pool.create(EVIL, workload, &all);
    for other in &others {
        pool.ctl.text(&["host", "maintenance", other, "off"])?;
    }
    created
}

fn agent_pid(pool: &LabPool) -> Result<String> {
    pool.host_of(PLUG)?.ssh("cat /run/vmm-agent.pid && kill -0 $(cat /run/vmm-agent.pid)")
}

/// The well-behaved guest goes on, and its changes work.
fn not_disturbed(pool: &LabPool) -> Result<()> {
    let start = Instant::now();
    let before = Guest::look(&pool.ctl, PLUG)?.context("the guest is silent")?;
    for count in ["2", "1"] {
        pool.ctl.text(&["vm", "vcpus", PLUG, count])?;
    }
    let t = before.number("t");
    let after =
        Guest::until(&pool.ctl, PLUG, "the other guest goes on", |guest| guest.number("t") > t)?;
    ensure!(after.word("boot") == before.word("boot"), "the other guest has rebooted");
    let took = start.elapsed();
    ensure!(took < UNDISTURBED, "what has nothing to do with it took {took:?}");
    Ok(())
}

fn beside(pool: &mut LabPool, kind: &str) -> Result<()> {
    let agent = agent_pid(pool)?;
    create(
        pool,
        &format!("hostile:{kind}"),
        &["--nic", "br0", "--disk", IMAGE, "--vcpus-max", "2"],
    )?;
    Guest::until(&pool.ctl, EVIL, "it is hostile", |guest| {
        !guest.word("hostile").is_empty() && guest.word("hostile") != "0/0"
    })?;
    not_disturbed(pool)?;
    // What the agent says of the hostile one may be wrong, but it answers; so does what it cannot do.
    pool.ctl.text(&["vm", "show", EVIL])?;
    pool.ctl.text(&["vm", "stats", EVIL])?;
    for change in [
        &["vm", "memory", EVIL, "96M", "--timeout", "5"][..],
        &["vm", "vcpus", EVIL, "2", "--timeout", "5"],
        &["vm", "disk", "detach", EVIL, "xvda", "--timeout", "5"],
        &["vm", "nic", "detach", EVIL, "0", "--timeout", "5"],
        &["vm", "shutdown", EVIL, "--timeout", "5"],
    ] {
        let start = Instant::now();
        // Either outcome is right; that it comes is what counts.
        let _ = pool.ctl.run(change)?;
        ensure!(start.elapsed() < UNDISTURBED, "{change:?} took {:?}", start.elapsed());
    }
    not_disturbed(pool)?;
    ended(pool)?;
    ensure!(agent_pid(pool)? == agent, "the agent has been started again");
    Ok(())
}

/// It goes without a trace.
fn ended(pool: &LabPool) -> Result<()> {
    pool.remove(EVIL)?;
    let host = pool.host_of(PLUG)?;
    ensure!(host.xl_list()?.iter().all(|row| row.name != EVIL), "its domain is left");
    let mut left = String::new();
    eventually("nothing of it is left", || {
        left = no_trace(pool)?;
        Ok(left.trim().is_empty())
    })
    .with_context(|| left)
}

fn no_trace(pool: &LabPool) -> Result<String> {
    pool.host_of(PLUG)?.orphans(IMAGE)
}

fn deaf_to_a_disk(pool: &mut LabPool) -> Result<()> {
    create(pool, "idle without=xen-blkfront", &[])?;
    let attach = ["vm", "disk", "attach", EVIL, &format!("{IMAGE}:xvdb"), "--timeout", "5"];
    pool.ctl.refused(&attach, &["xvdb"])?;
    ensure!(pool.vm(EVIL)?["spec"]["disk"].is_null(), "the disk stayed: {}", pool.vm(EVIL)?);
    let left = no_trace(pool)?;
    ensure!(left.trim().is_empty(), "{left}");
    not_disturbed(pool)?;
    ended(pool)
}

fn deaf_to_a_nic(pool: &mut LabPool) -> Result<()> {
    create(pool, "idle without=xen-netfront", &[])?;
    pool.ctl.refused(&["vm", "nic", "attach", EVIL, "br0,index=0", "--timeout", "5"], &["0"])?;
    ensure!(pool.vm(EVIL)?["spec"]["nic"].is_null(), "the NIC stayed: {}", pool.vm(EVIL)?);
    let domid = pool.xl_row(EVIL)?.domid;
    let ports = pool.host_of(EVIL)?.ssh("ls /sys/class/net/br0/brif")?;
    ensure!(!ports.contains(&format!("vif{domid}.")), "its port is left on the bridge: {ports}");
    ended(pool)
}

fn crash_on_plug(pool: &mut LabPool) -> Result<()> {
    let mut arguments = create_arguments(DOOMED, "crash-on-plug");
    arguments.extend(["--cpu-demand".to_owned(), "0.1".to_owned()]);
    pool.ctl.text(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    Guest::until(&pool.ctl, DOOMED, "the guest speaks", |guest| guest.number("cpus_online") > 0)?;
    // The guest may have said that it is connected before it crashed.
    let _ = pool.ctl.run(&["vm", "nic", "attach", DOOMED, "br0", "--timeout", "20"])?;
    pool.until_phase(DOOMED, "Crashed")?;
    for host in &pool.hosts {
        ensure!(host.xl_list()?.iter().all(|row| row.name != DOOMED), "{} still has it", host.name);
    }
    let left = no_trace(pool)?;
    ensure!(left.trim().is_empty(), "{left}");
    pool.ctl.text(&["vm", "delete", DOOMED]).map(drop)
}
