//! `vmmctl host stats`

use clap::Args;
use vmm_proto::v1::{
    GetHostStats, Host, HostDisk, HostLoad, HostNic, HostStats, ListHosts, Pcpu, Reply, Request,
};

use crate::failure::Failure;
use crate::output::{Format, cpus, fields, mib, or_dash, print, rate, section};
use crate::session::{Session, unexpected};

#[derive(Debug, Args)]
#[command(after_help = "\
Rates, latencies and how busy a CPU is are those since the agent's sample before; the first has
none (-). Disks and NICs are those of the host itself; `vmmctl vm stats` has the guests'.")]
pub(crate) struct Stats {
    /// Name or id.
    host: String,
}

pub(super) async fn run(session: &Session, stats: Stats) -> Result<(), Failure> {
    let request = Request::GetHostStats(GetHostStats { host: stats.host.clone() });
    let answer = match session.call(request).await? {
        Reply::HostStats(answer) => answer,
        other => return Err(unexpected(&other)),
    };
    let load = match session.format {
        Format::Table => load(session, &stats.host).await?,
        Format::Json => None,
    };
    print(session.format, &answer, |answer| show(answer, load))
}

/// What its last report said.
async fn load(session: &Session, name: &str) -> Result<Option<HostLoad>, Failure> {
    match session.call(Request::ListHosts(ListHosts::default())).await? {
        Reply::Hosts(hosts) => {
            let is = |host: &&Host| host.name == name || host.host == name;
            Ok(hosts.hosts.iter().find(is).and_then(|host| host.load))
        }
        other => Err(unexpected(&other)),
    }
}

fn show(stats: &HostStats, load: Option<HostLoad>) -> String {
    let of_cpus = |milli| format!("{} of {} CPUs", cpus(milli), stats.pcpus.len());
    let shells = |load: HostLoad| {
        format!("{}, with {} that give way to VMs", load.shell_count, mib(load.shell_memory_kib))
    };
    let mut text = fields(&[
        ("xen", stats.xen_version.clone()),
        ("guests", stats.xen_capabilities.clone()),
        ("cpu", or_dash(stats.cpu_milli, of_cpus)),
        ("memory", mib(stats.memory_total_kib)),
        ("memory free", mib(stats.memory_free_kib)),
        ("prepared VMs", load.map(shells).unwrap_or_default()),
        ("disk rate of VMs", or_dash(stats.disk_bytes_per_s, rate)),
    ]);
    let pcpus: Vec<_> = stats.pcpus.iter().map(pcpu).collect();
    let disks: Vec<_> = stats.disks.iter().map(disk).collect();
    let nics: Vec<_> = stats.nics.iter().map(nic).collect();
    section(&mut text, &[">CPU", ">BUSY"], &pcpus);
    let headings =
        ["DISK", ">READS", ">READ BYTES", ">WRITES", ">WRITTEN BYTES", ">RATE", ">LATENCY"];
    section(&mut text, &headings, &disks);
    section(&mut text, &["NIC", ">RECEIVED BYTES", ">SENT BYTES", ">DROPS", ">RATE"], &nics);
    text
}

fn pcpu(pcpu: &Pcpu) -> Vec<String> {
    let percent = |milli: u64| format!("{}.{} %", milli / 10, milli % 10);
    vec![pcpu.index.to_string(), or_dash(pcpu.busy_milli, percent)]
}

fn disk(disk: &HostDisk) -> Vec<String> {
    let ms = |us: u64| format!("{}.{:02} ms", us / 1000, us % 1000 / 10);
    vec![
        disk.device.clone(),
        disk.reads.to_string(),
        disk.read_bytes.to_string(),
        disk.writes.to_string(),
        disk.written_bytes.to_string(),
        or_dash(disk.bytes_per_s, rate),
        or_dash(disk.latency_us, ms),
    ]
}

fn nic(nic: &HostNic) -> Vec<String> {
    vec![
        nic.device.clone(),
        nic.received_bytes.to_string(),
        nic.sent_bytes.to_string(),
        nic.drops.to_string(),
        or_dash(nic.bytes_per_s, rate),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = "
xen               4.17.7
guests            xen-3.0-x86_64
cpu               0.50 of 2 CPUs
memory            4096 MiB
memory free       1024 MiB
prepared VMs      3, with 384 MiB that give way to VMs
disk rate of VMs  -

CPU    BUSY
  0  12.5 %
  1       -

DISK     READS  READ BYTES  WRITES  WRITTEN BYTES       RATE  LATENCY
nvme0n1      1           2       3              4  1.0 MiB/s  1.25 ms

NIC   RECEIVED BYTES  SENT BYTES  DROPS  RATE
eth0               5           6      7     -
";

    #[test]
    fn each_cpu_disk_and_nic_of_a_host_has_a_line() {
        let stats = HostStats {
            cpu_milli: Some(500),
            memory_total_kib: 4096 << 10,
            memory_free_kib: 1024 << 10,
            xen_version: "4.17.7".into(),
            xen_capabilities: "xen-3.0-x86_64".into(),
            pcpus: [(0, Some(125)), (1, None)]
                .map(|(index, busy_milli)| Pcpu { index, idle_ns: 0, busy_milli })
                .to_vec(),
            disks: vec![HostDisk {
                device: "nvme0n1".into(),
                reads: 1,
                writes: 3,
                read_bytes: 2,
                written_bytes: 4,
                bytes_per_s: Some(1 << 20),
                latency_us: Some(1250),
            }],
            nics: vec![HostNic {
                device: "eth0".into(),
                received_bytes: 5,
                sent_bytes: 6,
                drops: 7,
                bytes_per_s: None,
            }],
            ..HostStats::default()
        };
        let load = HostLoad { shell_count: 3, shell_memory_kib: 384 << 10, ..HostLoad::default() };
        assert_eq!(format!("\n{}", show(&stats, Some(load))), GOLDEN);
    }
}
