//! What a host and its VMs count.

use std::sync::Arc;
use std::time::Duration;

use vmm_agent::sim::SimDom0;
use vmm_core::stats::HostDiskCounters;
use vmm_proto::v1::{GetHostStats, HostStats, Reply, Request};
use xen_bindings::StorePath;

use crate::host::Host;

async fn host_stats(host: &Host) -> HostStats {
    let request = GetHostStats { host: String::new() };
    match host.change(Request::GetHostStats(request)).await.unwrap() {
        Reply::HostStats(stats) => stats,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_tells_how_busy_each_cpu_is_and_which_xen_it_runs() {
    let host = Host::new().await;
    let mut vm = host.vm(1);
    vm.spec.cmdline = "console=hvc0 workload=burn:1".into();
    host.build(&vm).await.unwrap();
    host.sleep(8).await;
    let stats = host_stats(&host).await;
    let busy: Vec<u64> = stats.pcpus.iter().filter_map(|pcpu| pcpu.busy_milli).collect();
    assert_eq!(busy.len(), stats.pcpus.len(), "{stats:?}");
    assert!(busy.iter().all(|milli| *milli <= 1_000), "{busy:?}");
    assert!(busy.iter().sum::<u64>().abs_diff(stats.cpu_milli.unwrap()) <= 4, "{stats:?}");
    assert!(stats.cpu_milli.unwrap() >= 900, "{stats:?}");
    assert!(stats.xen_version.starts_with("4.17"), "{stats:?}");
    assert!(stats.xen_capabilities.contains("x86_64"), "{stats:?}");
    assert!(stats.nics.iter().any(|nic| nic.device == "br0"), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_disk_of_the_hosts_has_throughput_and_latency() {
    let mut host = Host::new().await;
    host.kill_agent().await;
    let dom0 = Arc::new(SimDom0::new(&host.machine));
    host.backend.dom0 = dom0.clone();
    let counted = |requests: u64| HostDiskCounters {
        reads: requests,
        read_bytes: requests << 20,
        read_time: Duration::from_millis(3 * requests),
        ..HostDiskCounters::default()
    };
    dom0.set_host_disk("sda", counted(10));
    host.start_agent().await;
    host.sleep(5).await;
    let idle = host_stats(&host).await.disks.remove(0);
    assert_eq!((idle.bytes_per_s, idle.latency_us), (Some(0), None), "{idle:?}");
    dom0.set_host_disk("sda", counted(30));
    // Before the next sample is kept.
    host.sleep(1).await;
    let busy = host_stats(&host).await.disks.remove(0);
    assert_eq!((busy.reads, busy.latency_us), (30, Some(3_000)), "{busy:?}");
    assert!(busy.bytes_per_s.unwrap() > 1 << 20, "{busy:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_guest_says_of_its_memory_is_told_only_when_it_can_be_true() {
    let host = Host::new().await;
    let vm = host.vm(1);
    host.build(&vm).await.unwrap();
    host.sleep(5).await;
    let domid = host.domid(&vm).await;
    let node = StorePath::domain(domid).join("data/meminfo_free").unwrap();
    let written: [(&[u8], Option<u64>); 4] =
        [(b"4096", Some(4_096)), (b"999999999", None), (b"lots", None), (&[0xff, 0, 0x80], None)];
    for (value, expect) in written {
        host.backend.xen.store.write(&node, value).unwrap();
        let stats = host.stats(&vm).await.unwrap();
        assert_eq!(stats.memory_guest_free_kib, expect, "{value:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_vm_was_given_while_it_ran_is_counted_too() {
    let host = Host::new().await;
    let mut vm = host.vm(1);
    vm.spec.cmdline = "console=hvc0 workload=net:2".into();
    host.build(&vm).await.unwrap();
    host.sleep(5).await;
    let before = host.stats(&vm).await.unwrap();
    assert_eq!((before.nics.as_slice(), before.network_bytes_per_s), (&[][..], Some(0)));
    host.change(Host::attach_nic_request(&vm, Host::nic(2, "br0"))).await.unwrap();
    host.sleep(10).await;
    let stats = host.stats(&vm).await.unwrap();
    let [nic] = stats.nics.as_slice() else { panic!("{stats:?}") };
    assert_eq!(nic.index, 2);
    assert!(nic.sent_bytes > 0 && nic.sent_packets > 0, "{nic:?}");
    assert!(nic.received_bytes > 0 && nic.received_packets > 0, "{nic:?}");
    assert!(stats.network_bytes_per_s.unwrap() > 1 << 20, "{stats:?}");
    assert_eq!(stats.disks[0].errors, None, "Linux's backend counts no errors");
}

#[tokio::test(start_paused = true)]
async fn a_report_says_what_each_vm_was_measured_to_use_and_none_is_sent_for_its_sake() {
    let host = Host::new().await;
    let (mut busy, idle) = (host.vm(1), host.vm(2));
    busy.spec.cmdline = "console=hvc0 workload=burn:1".into();
    host.build(&busy).await.unwrap();
    host.build(&idle).await.unwrap();
    assert_eq!(host.reported(&busy).await.rates, None, "not sampled twice yet");
    host.sleep(9).await;
    let rates = host.reported(&busy).await.rates.expect("measured");
    assert!(rates.cpu_milli.unwrap().abs_diff(1000) < 100, "{rates:?}");
    assert!(rates.age_ms <= 2_000, "{rates:?}");
    assert_eq!((rates.disk_bytes_per_s, rates.network_bytes_per_s), (Some(0), Some(0)));
    assert!(host.reported(&idle).await.rates.expect("measured").cpu_milli.unwrap() < 100);
    let cursor = host.report().await.cursor;
    let before = tokio::time::Instant::now();
    let next = host.await_report(&cursor, 5_000).await;
    assert!(before.elapsed() >= Duration::from_secs(5) && next.cursor == cursor);
    host.destroy(&busy).await.unwrap();
    assert_eq!(host.reported(&busy).await.rates, None);
}
