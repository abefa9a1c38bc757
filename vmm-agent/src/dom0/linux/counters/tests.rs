//! Counters: which is whose, and what this machine's own are.

use super::*;

#[test]
fn what_is_not_there_counts_nothing() {
    let dom0 = LinuxDom0::default();
    let domid = DomId::new(7).unwrap();
    assert_eq!(dom0.vbd_counters(domid, 51712).unwrap(), None);
    assert_eq!(dom0.vif_counters(domid, 0).unwrap(), None);
}

#[test]
fn the_guest_has_received_what_the_backend_sent() {
    let mut link = Link::default();
    (link.stats.rx_bytes, link.stats.rx_packets, link.stats.rx_dropped) = (10, 11, 12);
    (link.stats.tx_bytes, link.stats.tx_packets, link.stats.tx_dropped) = (20, 21, 22);
    let guest = guest_side(&link);
    let received = (guest.received_bytes, guest.received_packets, guest.received_drops);
    assert_eq!(received, (20, 21, 22));
    assert_eq!((guest.sent_bytes, guest.sent_packets, guest.sent_drops), (10, 11, 12));
    let host = host_side(&link);
    assert_eq!((host.received_bytes, host.sent_bytes, host.drops), (10, 20, 34));
}

#[test]
fn a_line_of_diskstats_is_read_and_what_is_no_disk_is_left_out() {
    let check = |name: &str, expect: bool| {
        let line = format!("   8       0 {name} 3 1 16 5 2 0 8 7 0 0 0 0 0 0 0 0 0");
        assert_eq!(disk(&line).is_some(), expect, "{name}");
    };
    check("sda", true);
    check("fdsomething", true);
    check("nvme0n1", true);
    check("dm-0", true);
    check("loop0", false);
    check("ram15", false);
    check("zram0", false);
    check("sr0", false);
    assert_eq!(disk("   8       0 sda 3 1 16"), None);
    assert_eq!(disk(""), None);
    let (name, counters) = disk("   8       0 sda 3 1 16 5 2 0 8 7 0 9 9").unwrap();
    let expect = HostDiskCounters {
        reads: 3,
        writes: 2,
        read_bytes: 16 * SECTOR_BYTES,
        written_bytes: 8 * SECTOR_BYTES,
        read_time: Duration::from_millis(5),
        write_time: Duration::from_millis(7),
    };
    assert_eq!((name.as_str(), counters), ("sda", expect));
    assert!(!is_whole_disk("no-such-disk"));
}

#[test]
fn this_machines_disks_have_counted_something() {
    let disks = LinuxDom0::default().host_disks().unwrap();
    assert!(disks.keys().all(|name| Path::new("/sys/block").join(name).exists()), "{disks:?}");
    assert!(disks.values().any(|disk| disk.reads > 0), "{disks:?}");
}
