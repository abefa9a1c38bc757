//! `vmmctl host stats`

use clap::Args;
use vmm_proto::v1::{
    GetHostStats, Host, HostDisk, HostLoad, HostNic, HostStats, Pcpu, Reply, Request,
};

use super::list::hosts;
use crate::complete;
use crate::failure::Failure;
use crate::output::{Answer, Column, Named, Told, Unit, cpus, mib, or_dash, rate};
use crate::session::{Session, unexpected};
use crate::wanted::Wanted;

#[derive(Debug, Args)]
#[command(after_help = "\
Rates, latencies and how busy a CPU is are those since the agent's sample before; the first has
none (-). Disks and NICs are those of the host itself; `vmmctl vm stats` has the guests'.")]
pub(crate) struct Stats {
    /// Name or id.
    #[arg(add = complete::hosts())]
    host: String,
}

pub(super) async fn run(session: &Session, stats: Stats) -> Result<(), Failure> {
    let request = Request::GetHostStats(GetHostStats { host: stats.host.clone() });
    let answer = match session.call(request).await? {
        Reply::HostStats(answer) => answer,
        other => return Err(unexpected(&other)),
    };
    let load = if session.look.is_for_people() { load(session, &stats.host).await? } else { None };
    let stats = Named::new(stats.host, answer);
    session.look.print(&Answer::one(&stats, COLUMNS).told(|| told(&stats.of, load)))
}

/// What its last report said.
async fn load(session: &Session, name: &str) -> Result<Option<HostLoad>, Failure> {
    let is = |host: &&Host| host.name == name || host.host == name;
    Ok(hosts(session, &Wanted::default()).await?.iter().find(is).and_then(|host| host.load))
}

type OfHostStats = Column<Named<HostStats>>;

const COLUMNS: &[OfHostStats] = &[
    OfHostStats::text("name", |row| row.name.clone()),
    OfHostStats::number("cpu", Unit::Milli, |row| row.of.cpu_milli),
    OfHostStats::count("cpus", |row| u64::try_from(row.of.pcpus.len()).ok()),
    OfHostStats::number("memory", Unit::Kib, |row| Some(row.of.memory_total_kib)),
    OfHostStats::number("memory_free", Unit::Kib, |row| Some(row.of.memory_free_kib)),
    OfHostStats::number("disk", Unit::BytesPerS, |row| row.of.disk_bytes_per_s),
    OfHostStats::text("xen", |row| row.of.xen_version.clone()),
];

type OfPcpu = Column<Pcpu>;

const PCPUS: &[OfPcpu] = &[
    OfPcpu::count("cpu", |pcpu| Some(pcpu.index.into())),
    OfPcpu::number("busy", Unit::Permille, |pcpu| pcpu.busy_milli),
];

type OfHostDisk = Column<HostDisk>;

const DISKS: &[OfHostDisk] = &[
    OfHostDisk::text("disk", |disk| disk.device.clone()),
    OfHostDisk::count("reads", |disk| Some(disk.reads)),
    OfHostDisk::count("read_bytes", |disk| Some(disk.read_bytes)),
    OfHostDisk::count("writes", |disk| Some(disk.writes)),
    OfHostDisk::count("written_bytes", |disk| Some(disk.written_bytes)),
    OfHostDisk::number("rate", Unit::BytesPerS, |disk| disk.bytes_per_s),
    OfHostDisk::number("latency", Unit::Us, |disk| disk.latency_us),
];

type OfHostNic = Column<HostNic>;

const NICS: &[OfHostNic] = &[
    OfHostNic::text("nic", |nic| nic.device.clone()),
    OfHostNic::count("received_bytes", |nic| Some(nic.received_bytes)),
    OfHostNic::count("sent_bytes", |nic| Some(nic.sent_bytes)),
    OfHostNic::count("drops", |nic| Some(nic.drops)),
    OfHostNic::number("rate", Unit::BytesPerS, |nic| nic.bytes_per_s),
];

fn told(stats: &HostStats, load: Option<HostLoad>) -> Told {
    let of_cpus = |milli| format!("{} of {} CPUs", cpus(milli), stats.pcpus.len());
    let shells = |load: HostLoad| {
        format!("{}, with {} that give way to VMs", load.shell_count, mib(load.shell_memory_kib))
    };
    Told::fields(vec![
        ("xen", stats.xen_version.clone()),
        ("guests", stats.xen_capabilities.clone()),
        ("cpu", or_dash(stats.cpu_milli, of_cpus)),
        ("memory", mib(stats.memory_total_kib)),
        ("memory free", mib(stats.memory_free_kib)),
        ("prepared VMs", load.map(shells).unwrap_or_default()),
        ("disk rate of VMs", or_dash(stats.disk_bytes_per_s, rate)),
    ])
    .table(PCPUS, &stats.pcpus)
    .table(DISKS, &stats.disks)
    .table(NICS, &stats.nics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Screen;

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
        let text = told(&stats, Some(load)).lay_out(Screen::PIPE, true);
        assert_eq!(format!("\n{text}"), GOLDEN);
    }
}
