//! `vmmctl vm stats`

use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _};
use vmm_proto::v1::{DiskCounters, GetVmStats, NicCounters, Reply, Request, Vcpu, VmStats};

use super::targets::Pick;
use crate::commands::each::AT_ONCE;
use crate::failure::Failure;
use crate::output::{Answer, Column, Named, Told, Unit, cpus, mib, or_dash, rate, seconds};
use crate::session::{Session, unexpected};

#[derive(Debug, Args)]
#[command(after_help = "\
Rates are those since the agent's sample before; the first has none (-). A vCPU that neither
runs nor is idle waits for a CPU. A NIC's counters are the guest's: what it received and sent.
Of several VMs each has a line: `vmmctl vm stats --where status=running --columns name,cpu,disk`.")]
pub(crate) struct Stats {
    #[command(flatten)]
    pick: Pick,
}

/// One VM has all its counters, several a line each.
pub(super) async fn run(session: &Session, stats: Stats) -> Result<(), Failure> {
    let is_one = stats.pick.is_one();
    let names = stats.pick.names(session).await?;
    let answers: Vec<Named<VmStats>> = futures_util::stream::iter(names)
        .map(async |vm| ask(session, vm).await)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    match (&answers[..], is_one) {
        ([one], true) => session.look.print(&Answer::one(one, COLUMNS).told(|| told(&one.of))),
        (several, _) => session.look.print(&Answer::list(several, COLUMNS)),
    }
}

/// What its host's agent counts.
async fn ask(session: &Session, vm: String) -> Result<Named<VmStats>, Failure> {
    match session.call(Request::GetVmStats(GetVmStats { vm: vm.clone() })).await? {
        Reply::VmStats(stats) => Ok(Named::new(vm, stats)),
        other => Err(unexpected(&other)),
    }
}

type OfVmStats = Column<Named<VmStats>>;

const COLUMNS: &[OfVmStats] = &[
    OfVmStats::text("name", |row| row.name.clone()),
    OfVmStats::number("cpu", Unit::Milli, |row| row.of.cpu_milli),
    OfVmStats::number("cpu_time", Unit::Ns, |row| Some(row.of.cpu_time_ns)),
    OfVmStats::number("memory", Unit::Kib, |row| Some(row.of.memory_kib)),
    OfVmStats::number("memory_target", Unit::Kib, |row| Some(row.of.memory_target_kib)),
    OfVmStats::number("memory_max", Unit::Kib, |row| Some(row.of.memory_max_kib)),
    OfVmStats::number("memory_guest_free", Unit::Kib, |row| row.of.memory_guest_free_kib),
    OfVmStats::number("disk", Unit::BytesPerS, |row| row.of.disk_bytes_per_s),
    OfVmStats::number("network", Unit::BytesPerS, |row| row.of.network_bytes_per_s),
];

type OfVcpu = Column<Vcpu>;

const VCPUS: &[OfVcpu] = &[
    OfVcpu::count("vcpu", |vcpu| Some(vcpu.index.into())),
    OfVcpu::text("state", |vcpu| vcpu_state(vcpu).to_owned()),
    OfVcpu::count("on_cpu", |vcpu| vcpu.online.then(|| vcpu.pcpu.into())),
    OfVcpu::number("cpu_time", Unit::Ns, |vcpu| Some(vcpu.cpu_time_ns)),
];

type OfDiskCounters = Column<DiskCounters>;

const DISKS: &[OfDiskCounters] = &[
    OfDiskCounters::text("disk", |disk| disk.device.clone()),
    OfDiskCounters::count("reads", |disk| Some(disk.reads)),
    OfDiskCounters::count("read_bytes", |disk| Some(disk.read_bytes)),
    OfDiskCounters::count("writes", |disk| Some(disk.writes)),
    OfDiskCounters::count("written_bytes", |disk| Some(disk.written_bytes)),
    OfDiskCounters::count("errors", |disk| disk.errors),
];

type OfNicCounters = Column<NicCounters>;

const NICS: &[OfNicCounters] = &[
    OfNicCounters::count("nic", |nic| Some(nic.index.into())),
    OfNicCounters::count("received_bytes", |nic| Some(nic.received_bytes)),
    OfNicCounters::count("received_packets", |nic| Some(nic.received_packets)).heading("PACKETS"),
    OfNicCounters::count("received_drops", |nic| Some(nic.received_drops)).heading("DROPS"),
    OfNicCounters::count("sent_bytes", |nic| Some(nic.sent_bytes)),
    OfNicCounters::count("sent_packets", |nic| Some(nic.sent_packets)).heading("PACKETS"),
    OfNicCounters::count("sent_drops", |nic| Some(nic.sent_drops)).heading("DROPS"),
];

fn told(stats: &VmStats) -> Told {
    let memory = format!(
        "{} now, {} aimed at, {} at most",
        mib(stats.memory_kib),
        mib(stats.memory_target_kib),
        mib(stats.memory_max_kib)
    );
    Told::fields(vec![
        ("cpu", or_dash(stats.cpu_milli, |milli| format!("{} CPUs", cpus(milli)))),
        ("cpu time", seconds(stats.cpu_time_ns)),
        ("memory", memory),
        ("free in the guest", stats.memory_guest_free_kib.map(mib).unwrap_or_default()),
        ("disk rate", or_dash(stats.disk_bytes_per_s, rate)),
        ("network rate", or_dash(stats.network_bytes_per_s, rate)),
    ])
    .table(VCPUS, &stats.vcpus)
    .table(DISKS, &stats.disks)
    .table(NICS, &stats.nics)
}

fn vcpu_state(vcpu: &Vcpu) -> &'static str {
    match (vcpu.online, vcpu.running, vcpu.blocked) {
        (false, ..) => "offline",
        (true, true, _) => "running",
        (true, false, true) => "idle",
        (true, false, false) => "waiting",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Screen;

    const GOLDEN: &str = "
cpu                1.25 CPUs
cpu time           3.00 s
memory             128 MiB now, 128 MiB aimed at, 256 MiB at most
free in the guest  64 MiB
disk rate          -
network rate       2.0 MiB/s

VCPU  STATE    ON CPU  CPU TIME
   0  running       3    2.00 s
   1  idle          1    1.00 s
   2  waiting       1    0.00 s
   3  offline       -    0.00 s

DISK  READS  READ BYTES  WRITES  WRITTEN BYTES  ERRORS
xvda      1        4096       2           8192       3

NIC  RECEIVED BYTES  PACKETS  DROPS  SENT BYTES  PACKETS  DROPS
  0              10        1      0          20        2      5
";

    fn text(stats: &VmStats) -> String {
        told(stats).lay_out(Screen::PIPE, true)
    }

    fn sample() -> VmStats {
        let vcpu = |index, (online, running, blocked), pcpu, seconds: u64| Vcpu {
            index,
            online,
            cpu_time_ns: seconds * 1_000_000_000,
            running,
            blocked,
            pcpu,
        };
        VmStats {
            cpu_milli: Some(1250),
            cpu_time_ns: 3_000_000_000,
            memory_kib: 128 << 10,
            memory_target_kib: 128 << 10,
            memory_max_kib: 256 << 10,
            memory_guest_free_kib: Some(64 << 10),
            network_bytes_per_s: Some(2 << 20),
            vcpus: vec![
                vcpu(0, (true, true, false), 3, 2),
                vcpu(1, (true, false, true), 1, 1),
                vcpu(2, (true, false, false), 1, 0),
                vcpu(3, (false, false, false), 0, 0),
            ],
            disks: vec![DiskCounters {
                device: "xvda".into(),
                reads: 1,
                writes: 2,
                read_bytes: 4096,
                written_bytes: 8192,
                errors: Some(3),
            }],
            nics: vec![NicCounters {
                index: 0,
                received_bytes: 10,
                received_packets: 1,
                received_drops: 0,
                sent_bytes: 20,
                sent_packets: 2,
                sent_drops: 5,
            }],
            ..VmStats::default()
        }
    }

    #[test]
    fn each_vcpu_disk_and_nic_has_a_line() {
        assert_eq!(format!("\n{}", text(&sample())), GOLDEN);
        let bare = VmStats { disks: Vec::new(), nics: Vec::new(), ..sample() };
        assert!(!text(&bare).contains("NIC"), "nothing is said of what it has not");
    }
}
