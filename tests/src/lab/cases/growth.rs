//! A running guest grows and shrinks; statistics agree with xl and with the guest.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{LabPool, Table};
use crate::lab::Guest;

pub(super) const CASES: Table = &[
    ("a_second_vcpu_comes_online_inside_the_guest_and_goes_again", vcpus),
    ("memory_shrinks_and_grows_as_the_guest_sees_it", memory),
    ("memory_grows_above_the_boot_time_maximum", memory_above_maximum),
    ("the_guest_writes_and_reads_its_disk", disk),
    ("statistics_match_xl_and_the_guest", statistics),
];

/// What a figure may differ by from the judge's.
const TOLERANCE: f64 = 0.05;

fn vcpus(pool: &mut LabPool) -> Result<()> {
    for count in [2, 1] {
        let done = pool.ctl.json(&["vm", "vcpus", "web", &count.to_string()])?;
        let said = find(&done, "online").with_context(|| format!("no count in {done}"))?;
        ensure!(said == count, "the product says {done}");
        Guest::until(&pool.ctl, "web", "the guest has the vCPUs", |guest| {
            guest.number("cpus_online") == count
        })?;
        ensure!(u64::from(pool.xl_row("web")?.vcpus) == count, "xl: {:?}", pool.xl_row("web")?);
    }
    Ok(())
}

fn set_memory(pool: &LabPool, mib: u64) -> Result<u64> {
    let done = pool.ctl.json(&["vm", "memory", "web", &format!("{mib}M")])?;
    let reached = find(&done, "reached_kib").with_context(|| format!("no memory in {done}"))?;
    let xl = pool.xl_row("web")?.memory_mib;
    ensure!(close(xl, mib), "asked for {mib} MiB, xl says {xl}, the product says {done}");
    ensure!(close(reached / 1024, xl), "xl says {xl} MiB, the product says {done}");
    Ok(reached)
}

fn memory(pool: &mut LabPool) -> Result<()> {
    let total = |guest: &Guest| guest.number("mem_total_kib");
    let before = total(&Guest::look(&pool.ctl, "web")?.context("the guest is silent")?);
    set_memory(pool, 96)?;
    let down = Guest::until(&pool.ctl, "web", "the guest has less", |guest| {
        total(guest) + 28_000 < before
    })?;
    set_memory(pool, 160)?;
    let low = total(&down);
    Guest::until(&pool.ctl, "web", "the guest has more", |guest| total(guest) > low + 56_000)?;
    Ok(())
}

fn memory_above_maximum(pool: &mut LabPool) -> Result<()> {
    set_memory(pool, 320)?;
    Guest::until(&pool.ctl, "web", "the guest has hot-added memory", |guest| {
        guest.number("mem_total_kib") > 220_000
    })?;
    set_memory(pool, 128)?;
    Ok(())
}

fn disk(pool: &mut LabPool) -> Result<()> {
    let guest = Guest::until(&pool.ctl, "web", "the guest has used its disk", |guest| {
        guest.number("disk_written") > 1 << 20 && guest.number("disk_read") > 1 << 20
    })?;
    ensure!(guest.number("disk_errors") == 0 && guest.word("selfcheck") == "ok", "{guest:?}");
    Ok(())
}

fn statistics(pool: &mut LabPool) -> Result<()> {
    cpu_and_memory(pool)?;
    disk_counters(pool)
}

fn cpu_and_memory(pool: &LabPool) -> Result<()> {
    // Between two looks of xl, so that time that passes between them cannot be taken for a difference.
    let before = pool.xl_row("web")?;
    let stats = pool.ctl.json(&["vm", "stats", "web"])?;
    let after = pool.xl_row("web")?;
    #[allow(clippy::cast_precision_loss, reason = "seconds of CPU time")]
    let cpu_s = stats["cpu_time_ns"].as_u64().context("no cpu_time_ns")? as f64 / 1e9;
    let (low, high) =
        (before.cpu_time_s * (1.0 - TOLERANCE) - 0.1, after.cpu_time_s * (1.0 + TOLERANCE) + 0.1);
    ensure!(
        (low..=high).contains(&cpu_s),
        "CPU time {cpu_s} s, xl says {} to {}",
        before.cpu_time_s,
        after.cpu_time_s
    );
    let memory = stats["memory_kib"].as_u64().context("no memory_kib")? / 1024;
    ensure!(close(memory, after.memory_mib), "memory {memory} MiB, xl says {}", after.memory_mib);
    ensure!(stats["vcpu"].as_array().is_some_and(|all| all.len() == 2), "vCPUs in {stats}");
    Ok(())
}

fn disk_counters(pool: &LabPool) -> Result<()> {
    let written = |guest: &Guest| guest.number("disk_written");
    let before = written(&Guest::look(&pool.ctl, "web")?.context("the guest is silent")?);
    let stats = pool.ctl.json(&["vm", "stats", "web"])?;
    let shown = Guest::until(&pool.ctl, "web", "another report", |guest| written(guest) > before)?;
    let counted = stats["disk"][0]["written_bytes"]
        .as_u64()
        .with_context(|| format!("no disk in {stats}"))?;
    // The guest reports once a second and writes in between: two reports bracket the counter, a MiB a second apart.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "bytes of a short run"
    )]
    let within = |low: u64, high: u64| {
        let slack = 3 << 20;
        let (low, high) = (low as f64 * (1.0 - TOLERANCE), high as f64 * (1.0 + TOLERANCE));
        counted + slack >= low as u64 && counted <= high as u64 + slack
    };
    ensure!(
        within(before, written(&shown)),
        "{counted} B counted, the guest wrote {before} to {}",
        written(&shown)
    );
    Ok(())
}

fn close(figure: u64, judge: u64) -> bool {
    // A MiB of slack for the special pages and for xl's rounding.
    figure.abs_diff(judge) <= judge / 20 + 1
}

/// A number anywhere in an answer.
fn find(value: &Value, name: &str) -> Option<u64> {
    match value {
        Value::Object(fields) => fields
            .get(name)
            .and_then(Value::as_u64)
            .or_else(|| fields.values().find_map(|inner| find(inner, name))),
        Value::Array(items) => items.iter().find_map(|inner| find(inner, name)),
        _ => None,
    }
}
