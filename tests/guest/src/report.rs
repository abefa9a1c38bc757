//! The lines that tests read: one at the start, then one a second.
//!
//! Fails when /proc cannot be read or the console is gone.

use std::convert::Infallible;
use std::fs;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::tally::Tally;
use crate::{hotplug, machine};

const PERIOD: Duration = Duration::from_secs(1);
/// How often new CPUs and memory are looked for between two lines.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) fn hello() -> Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("read /proc")?;
    println!("VMM-GUEST-UP kernel={} cpus={}", release.trim(), hotplug::cpus_online());
    Ok(())
}

pub(crate) fn every_second(tally: &Tally) -> Result<Infallible> {
    let start = Instant::now();
    let mut line_due = start;
    loop {
        hotplug::online_everything();
        if Instant::now() >= line_due {
            print(start, tally)?;
            // From now and not from when it was due: a pause must not be followed by a burst.
            line_due = Instant::now() + PERIOD;
        }
        thread::sleep(LOOK);
    }
}

fn print(start: Instant, tally: &Tally) -> Result<()> {
    let memory = fs::read_to_string("/proc/meminfo").context("read /proc")?;
    let kib = |name: &str| field(&memory, name).unwrap_or(0);
    let disk_check = if tally.disk_check_done.load(Relaxed) { "done" } else { "pending" };
    println!(
        "VMM-GUEST t={} cpus_online={} mem_total_kib={} mem_free_kib={} burned={} dirtied={} \
         disk_read={} disk_written={} disk_errors={} disk_blocks_checked={} disk_check={disk_check} \
         echoed={} asked={} answered={} hostile={}/{} kind={} boot={} disks={} nics={} selfcheck={}",
        start.elapsed().as_secs(),
        hotplug::cpus_online(),
        kib("MemTotal:"),
        kib("MemFree:"),
        Tally::of(&tally.burned_rounds),
        Tally::of(&tally.dirtied_bytes),
        Tally::of(&tally.disk_read_bytes),
        Tally::of(&tally.disk_written_bytes),
        Tally::of(&tally.disk_errors),
        Tally::of(&tally.disk_blocks_checked),
        Tally::of(&tally.echoed_packets),
        Tally::of(&tally.asked_packets),
        Tally::of(&tally.answered_packets),
        Tally::of(&tally.hostile_done),
        Tally::of(&tally.hostile_refused),
        machine::kind(),
        machine::boot(),
        machine::disks(),
        machine::nics(),
        tally.verdict(),
    );
    Ok(())
}

pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
