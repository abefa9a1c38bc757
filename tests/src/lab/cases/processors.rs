//! Hosts of which the second has the lesser processor. Xen itself restores a guest there without a word, and the guest breaks when it uses what is missing.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::placement::preload;
use super::{LabPool, Table};
use crate::lab::Guest;

pub(super) const CASES: Table = &[
    ("a_guest_is_refused_where_the_processor_lacks_what_it_may_use", refused),
    ("a_guest_of_the_lesser_processor_moves_to_the_better_one_and_back", moves),
];

/// What the second host's processor is started without.
const LACKS: &[&str] = &["sse4_2", "popcnt"];
const SAGE: &str = "sage";
const PLAIN: &str = "plain";

fn refused(pool: &mut LabPool) -> Result<()> {
    preload(pool, (SAGE, "idle"), 0, &["--cpu-demand", "0.1"])?;
    Guest::until(&pool.ctl, SAGE, "it runs", |guest| guest.number("t") > 0)?;
    let lesser = pool.hosts[1].name.clone();
    let says: Vec<&str> =
        std::iter::once("lack what the VM may use").chain(LACKS.iter().copied()).collect();
    pool.ctl.refused(&["vm", "migrate", SAGE, "--to", &lesser], &says)?;
    pool.ctl.refused(
        &["vm", "migrate", SAGE, "--to", &lesser, "--dry-run"],
        &["no host can take it"],
    )?;
    // Nor does it go there when its host is to be emptied: it stays, and is named.
    let better = pool.hosts[0].name.clone();
    pool.ctl.refused(&["host", "evacuate", &better, "-y"], &[SAGE])?;
    pool.ctl.text(&["host", "maintenance", &better, "off"])?;
    ensure!(pool.host_of(SAGE)?.name == better, "it has left its host");
    pool.remove(SAGE)
}

fn moves(pool: &mut LabPool) -> Result<()> {
    preload(pool, (PLAIN, "idle"), 1, &["--cpu-demand", "0.1"])?;
    let before = Guest::until(&pool.ctl, PLAIN, "it runs", |guest| guest.number("t") > 0)?;
    for on in [0, 1] {
        let to = pool.hosts[on].name.clone();
        pool.ctl.text(&["vm", "migrate", PLAIN, "--to", &to, "--downtime-max", "60000"])?;
        ensure!(pool.host_of(PLAIN)?.name == to, "it is not on {to}");
        let t = Guest::look(&pool.ctl, PLAIN)?.map_or(0, |guest| guest.number("t"));
        let after = Guest::until(&pool.ctl, PLAIN, "it goes on", |guest| guest.number("t") > t)?;
        ensure!(after.word("boot") == before.word("boot"), "it has rebooted: {after:?}");
    }
    let hosts = pool.ctl.json(&["host", "list"])?;
    let told = |host: &Value| host["facts"]["cpu_features"].as_str().map(str::to_owned);
    let told: Vec<_> = hosts.as_array().into_iter().flatten().map(told).collect();
    ensure!(told.len() == 2 && told[0] != told[1] && told[0].is_some(), "{told:?}");
    pool.remove(PLAIN)
}
