//! `vmmctl host stats`

use clap::Args;
use vmm_proto::v1::{GetHostStats, HostStats, Reply, Request};

use crate::failure::Failure;
use crate::output::{cpus, fields, mib, or_dash, print, rate};
use crate::session::{Session, unexpected};

#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Name or id.
    host: String,
}

pub(super) async fn run(session: &Session, stats: Stats) -> Result<(), Failure> {
    let request = Request::GetHostStats(GetHostStats { host: stats.host });
    match session.call(request).await? {
        Reply::HostStats(stats) => print(session.format, &stats, show),
        other => Err(unexpected(&other)),
    }
}

fn show(stats: &HostStats) -> String {
    let of_cpus = |milli| format!("{} of {} CPUs", cpus(milli), stats.pcpus.len());
    fields(&[
        ("cpu", or_dash(stats.cpu_milli, of_cpus)),
        ("memory", mib(stats.memory_total_kib)),
        ("memory free", mib(stats.memory_free_kib)),
        ("disk", or_dash(stats.disk_bytes_per_s, rate)),
    ])
}
