//! `vmmctl vm stats`

use clap::Args;
use vmm_proto::v1::{DiskCounters, GetVmStats, NicCounters, Reply, Request, Vcpu, VmStats};

use crate::failure::Failure;
use crate::output::{cpus, fields, mib, or_dash, print, rate, section};
use crate::session::{Session, unexpected};

#[derive(Debug, Args)]
#[command(after_help = "\
Rates are those since the agent's sample before; the first has none (-). A vCPU that neither
runs nor is idle waits for a CPU. A NIC's counters are the guest's: what it received and sent.")]
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
    let mut text = fields(&[
        ("cpu", or_dash(stats.cpu_milli, |milli| format!("{} CPUs", cpus(milli)))),
        ("cpu time", seconds(stats.cpu_time_ns)),
        ("memory", memory),
        ("free in the guest", stats.memory_guest_free_kib.map(mib).unwrap_or_default()),
        ("disk rate", or_dash(stats.disk_bytes_per_s, rate)),
        ("network rate", or_dash(stats.network_bytes_per_s, rate)),
    ]);
    let vcpus: Vec<_> = stats.vcpus.iter().map(vcpu).collect();
    let disks: Vec<_> = stats.disks.iter().map(disk).collect();
    let nics: Vec<_> = stats.nics.iter().map(nic).collect();
    section(&mut text, &[">VCPU", "STATE", ">ON CPU", ">CPU TIME"], &vcpus);
    section(
        &mut text,
        &["DISK", ">READS", ">READ BYTES", ">WRITES", ">WRITTEN BYTES", ">ERRORS"],
        &disks,
    );
    let headings =
        [">NIC", ">RECEIVED BYTES", ">PACKETS", ">DROPS", ">SENT BYTES", ">PACKETS", ">DROPS"];
    section(&mut text, &headings, &nics);
    text
}

fn vcpu(vcpu: &Vcpu) -> Vec<String> {
    let state = match (vcpu.online, vcpu.running, vcpu.blocked) {
        (false, ..) => "offline",
        (true, true, _) => "running",
        (true, false, true) => "idle",
        (true, false, false) => "waiting",
    };
    let pcpu = if vcpu.online { vcpu.pcpu.to_string() } else { "-".to_owned() };
    vec![vcpu.index.to_string(), state.to_owned(), pcpu, seconds(vcpu.cpu_time_ns)]
}

fn disk(disk: &DiskCounters) -> Vec<String> {
    let DiskCounters { device, reads, writes, read_bytes, written_bytes, errors } = disk;
    let figures = [reads, read_bytes, writes, written_bytes].map(u64::to_string);
    let errors = or_dash(*errors, |errors| errors.to_string());
    std::iter::once(device.clone()).chain(figures).chain([errors]).collect()
}

fn nic(nic: &NicCounters) -> Vec<String> {
    let figures = [
        nic.received_bytes,
        nic.received_packets,
        nic.received_drops,
        nic.sent_bytes,
        nic.sent_packets,
        nic.sent_drops,
    ];
    std::iter::once(nic.index.to_string()).chain(figures.map(|n| n.to_string())).collect()
}

fn seconds(ns: u64) -> String {
    let hundredths = ns / 10_000_000;
    format!("{}.{:02} s", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(format!("\n{}", show(&sample())), GOLDEN);
        let bare = VmStats { disks: Vec::new(), nics: Vec::new(), ..sample() };
        assert!(!show(&bare).contains("NIC"), "nothing is said of what it has not");
    }
}
