//! `vmmctl vm stats`

use clap::Args;
use vmm_proto::v1::{DiskCounters, GetVmStats, Reply, Request, VmStats};

use crate::failure::Failure;
use crate::output::{cpus, fields, mib, or_dash, print, rate, table};
use crate::session::{Session, unexpected};

#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Name or id.
    vm: String,
}

pub(super) async fn run(session: &Session, stats: Stats) -> Result<(), Failure> {
    match session.call(Request::GetVmStats(GetVmStats { vm: stats.vm })).await? {
        Reply::VmStats(stats) => print(session.format, &stats, show),
        other => Err(unexpected(&other)),
    }
}

fn show(stats: &VmStats) -> String {
    let memory = format!(
        "{} now, {} aimed at, {} at most",
        mib(stats.memory_kib),
        mib(stats.memory_target_kib),
        mib(stats.memory_max_kib)
    );
    let disk = |disk: &DiskCounters| {
        format!(
            "{}: {} reads, {} bytes; {} writes, {} bytes",
            disk.device, disk.reads, disk.read_bytes, disk.writes, disk.written_bytes
        )
    };
    let disks = stats.disks.iter().map(disk).collect::<Vec<_>>().join(", ");
    let mut text = fields(&[
        ("cpu", or_dash(stats.cpu_milli, |milli| format!("{} CPUs", cpus(milli)))),
        ("cpu time", seconds(stats.cpu_time_ns)),
        ("memory", memory),
        ("disk rate", or_dash(stats.disk_bytes_per_s, rate)),
        ("disks", disks),
    ]);
    let row = |vcpu: &vmm_proto::v1::Vcpu| {
        let state = if vcpu.online { "online" } else { "offline" };
        vec![vcpu.index.to_string(), state.to_owned(), seconds(vcpu.cpu_time_ns)]
    };
    let rows: Vec<_> = stats.vcpus.iter().map(row).collect();
    text.push('\n');
    text.push_str(&table(&[">VCPU", "STATE", ">CPU TIME"], &rows));
    text
}

fn seconds(ns: u64) -> String {
    let hundredths = ns / 10_000_000;
    format!("{}.{:02} s", hundredths / 100, hundredths % 100)
}
