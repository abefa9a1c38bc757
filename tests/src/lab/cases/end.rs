//! The end of the day: everything is destroyed, and nothing is left.

use anyhow::{Result, ensure};

use super::{LabPool, Table};
use crate::lab::eventually;

pub(super) const CASES: Table = &[("destroyed_guests_leave_nothing", nothing_left)];

fn nothing_left(pool: &mut LabPool) -> Result<()> {
    let vms = pool.ctl.json(&["vm", "list"])?;
    for vm in vms.as_array().into_iter().flatten() {
        pool.remove(vm["spec"]["name"].as_str().unwrap_or_default())?;
    }
    for host in &pool.hosts {
        let mut left = Vec::new();
        let gone = eventually("nothing is left", || {
            left = host.leftovers()?;
            Ok(left.is_empty())
        });
        ensure!(gone.is_ok(), "{}: {left:?}", host.name);
    }
    let hosts = pool.ctl.json(&["host", "list"])?;
    for host in hosts.as_array().into_iter().flatten() {
        ensure!(host["memory_reserved_kib"] == 0, "still reserved: {host}");
    }
    Ok(())
}
