//! Hosts join; each VM goes where its demand says.

use anyhow::{Result, ensure};

use super::{LabPool, Table};
use crate::lab::{create_arguments, eventually};

/// What comes before anything else.
pub(super) const HOSTS: Table = &[("both_hosts_join_and_report_real_xen", both_hosts_join)];
pub(super) const CASES: Table = &[
    HOSTS[0],
    ("a_vm_goes_where_its_cpu_demand_says", cpu_decides),
    ("a_vm_goes_where_its_disk_demand_says", disk_decides),
    ("the_console_shows_the_guest_and_xl_lists_it", console_and_xl),
    ("requests_to_disks_are_measured_and_weighed", requests_count),
];

fn both_hosts_join(pool: &mut LabPool) -> Result<()> {
    pool.until_all_are_heard()?;
    let hosts = pool.ctl.json(&["host", "list"])?;
    for host in hosts.as_array().into_iter().flatten() {
        let facts = &host["facts"];
        ensure!(facts["backend"] == "libxc", "a stand-in answers for {host}");
        ensure!(facts["xen_version"].as_str().is_some_and(|v| v.starts_with("4.")), "{facts}");
        ensure!(facts["pcpus"].as_u64() >= Some(1), "{facts}");
    }
    Ok(())
}

/// Puts a VM on a host by closing the other one for the time being.
pub(super) fn preload(
    pool: &mut LabPool,
    (name, work): (&str, &str),
    on: usize,
    demand: &[&str],
) -> Result<()> {
    let (chosen, closed) = (pool.hosts[on].name.clone(), pool.hosts[1 - on].name.clone());
    pool.ctl.text(&["host", "maintenance", &closed, "on"])?;
    let created = pool.create(name, work, demand);
    pool.ctl.text(&["host", "maintenance", &closed, "off"])?;
    created?;
    ensure!(pool.host_of(name)?.name == chosen, "{name} is not on {chosen}");
    Ok(())
}

/// Asks where a VM with this demand would go, and checks that the answer explains itself.
fn expect_placement(pool: &LabPool, demand: &[&str], winner: usize, term: &str) -> Result<()> {
    let mut arguments = create_arguments("asked", "idle");
    arguments.push("--dry-run".into());
    arguments.extend(demand.iter().map(|word| (*word).to_owned()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let answer = pool.ctl.json(&arguments)?;
    let (chosen, loser) = (&pool.hosts[winner].name, &pool.hosts[1 - winner].name);
    ensure!(answer["chosen"] == chosen.as_str(), "{answer}");
    let lost = &answer["candidate"][1];
    ensure!(lost["host"] == loser.as_str(), "{answer}");
    ensure!(
        lost["reason"].as_str().is_some_and(|why| why.contains(term)),
        "why {loser} lost: {lost}"
    );
    ensure!(
        pool.ctl.text(&arguments)?.contains(chosen.as_str()),
        "the table does not name {chosen}"
    );
    Ok(())
}

fn cpu_decides(pool: &mut LabPool) -> Result<()> {
    preload(pool, ("load-cpu", "idle"), 0, &["--cpu-demand", "1.5"])?;
    let demand = ["--cpu-demand", "0.5"];
    expect_placement(pool, &demand, 1, "cpu")?;
    pool.hosts[1].ssh("cp /g/disk.img /var/lib/vmm/web.img")?;
    let more = [
        &demand[..],
        &[
            "--vcpus",
            "1",
            "--vcpus-max",
            "2",
            "--memory-max",
            "192M",
            "--disk",
            "/var/lib/vmm/web.img",
        ],
    ]
    .concat();
    // A quarter of a MiB a second, read back twice: it writes all day, and its host has one emulated processor.
    pool.create("web", "blocks:4", &more)?;
    ensure!(pool.host_of("web")?.name == pool.hosts[1].name, "web is not where its demand says");
    pool.remove("load-cpu")
}

fn disk_decides(pool: &mut LabPool) -> Result<()> {
    preload(pool, ("load-disk", "idle"), 1, &["--disk-demand", "80M"])?;
    let demand = ["--disk-demand", "60M", "--cpu-demand", "0.01"];
    expect_placement(pool, &demand, 0, "disk")?;
    pool.create("db", "idle", &demand)?;
    ensure!(pool.host_of("db")?.name == pool.hosts[0].name, "db is not where its demand says");
    pool.remove("load-disk")
}

fn console_and_xl(pool: &mut LabPool) -> Result<()> {
    let console = pool.ctl.text(&["vm", "console", "web"])?;
    ensure!(console.contains("VMM-GUEST"), "console: {console}");
    for name in ["web", "db"] {
        pool.xl_row(name)?;
    }
    Ok(())
}

/// `web` writes to its disk, `db` has none: a VM more costs requests on the host of `web` alone.
fn requests_count(pool: &mut LabPool) -> Result<()> {
    eventually("requests of web's disk are counted", || {
        let web = pool.ctl.json(&["vm", "show", "web"])?;
        Ok(web["rates"]["disk_requests_per_s"].as_u64() > Some(0))
    })?;
    let mut arguments = create_arguments("asked", "idle");
    arguments.push("--dry-run".into());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let busy = pool.host_of("web")?.name.clone();
    eventually("they cost more where web is", || {
        let answer = pool.ctl.json(&arguments)?;
        let cost = |is_busy: bool| -> f64 {
            let candidates = answer["candidate"].as_array().into_iter().flatten();
            let mut of = candidates.filter(|c| (c["host"] == busy.as_str()) == is_busy);
            let parts = of.next().and_then(|c| c["part"].as_array());
            let iops = parts.into_iter().flatten().find(|part| part["name"] == "iops");
            iops.and_then(|part| part["cost"].as_f64()).unwrap_or(0.0)
        };
        Ok(cost(true) > cost(false) && cost(false) > 0.0)
    })
}
