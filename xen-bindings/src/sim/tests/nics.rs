//! NICs: netback's conditions, its interface in dom0, what it counts.

use super::plug::{attach_vif, backend, both, detach, remove, states};
use super::{Lab, MIB, Order};
use crate::DomId;
use crate::sim::VifInterface;

const NIC: &str = "vif/0";

/// A NIC whose bridge port is there, connected.
fn plugged(lab: &Lab, domid: DomId) {
    attach_vif(lab, domid, 0, &[]);
    lab.write(&format!("{}/hotplug-status", backend(domid, NIC)), "connected");
    lab.run(100);
    assert_eq!(states(lab, domid, NIC), both("4", "4"));
}

#[test]
fn a_nic_connects_when_its_bridge_port_is_there() {
    let lab = Lab::new();
    let domid = lab.boot(&Order::default());
    attach_vif(&lab, domid, 0, &[]);
    lab.run(5000);
    assert_eq!(states(&lab, domid, NIC), both("2", "4"));
    let name = format!("vif{domid}.0");
    let interface = VifInterface { domid, index: 0, name, carrier: true };
    assert_eq!(lab.machine.vif_interfaces(), [interface]);
    lab.write(&format!("{}/hotplug-status", backend(domid, NIC)), "connected");
    lab.run(100);
    assert_eq!(states(&lab, domid, NIC), both("4", "4"));
    assert_eq!(lab.probe(domid).vifs_connected, 1);
}

#[test]
fn the_interface_is_there_before_the_guest_runs() {
    let lab = Lab::new();
    let domid = lab.build(&Order::default());
    attach_vif(&lab, domid, 1, &[]);
    lab.run(10);
    assert_eq!(states(&lab, domid, "vif/1"), both("2", "1"));
    let interfaces = lab.machine.vif_interfaces();
    assert_eq!(interfaces[0].name, format!("vif{domid}.1"));
    assert!(!interfaces[0].carrier);
}

#[test]
fn netback_says_what_it_misses() {
    for (missing, state, error) in [
        ("script", "6", "2 reading script"),
        ("handle", "6", "2 reading handle"),
        ("mac", "6", "2 parsing mac"),
    ] {
        let lab = Lab::new();
        let domid = lab.boot(&Order::default());
        attach_vif(&lab, domid, 0, &[missing]);
        lab.run(1000);
        let path = format!("/local/domain/0/error/backend/vif/{domid}/0/error");
        assert_eq!(lab.read(&path).as_deref(), Some(error));
        assert_eq!(states(&lab, domid, NIC)[0].as_deref(), Some(state), "{missing}");
        assert_eq!(lab.machine.vif_interfaces().is_empty(), missing != "mac");
    }
}

#[test]
fn a_nic_is_taken_away_and_can_come_back() {
    let lab = Lab::new();
    let domid = lab.boot(&Order::default());
    for _ in 0..3 {
        plugged(&lab, domid);
        detach(&lab, domid, NIC);
        lab.run(100);
        assert_eq!(states(&lab, domid, NIC), both("6", "6"));
        assert_eq!(lab.machine.vif_interfaces(), []);
        remove(&lab, domid, NIC);
        lab.run(10);
        assert_eq!(lab.probe(domid).vifs_connected, 0);
    }
}

#[test]
fn a_nic_counts_both_ways_and_drops_what_a_paused_guest_does_not_take() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { cmdline: "workload=net:4", ..Order::default() });
    plugged(&lab, domid);
    let counters = || lab.machine.vif_counters(domid, 0).unwrap();
    let before = counters();
    lab.run(10_000);
    let after = counters();
    let expect = 40 * MIB * 1024;
    assert!((after.rx_bytes - before.rx_bytes).abs_diff(expect) < 1 << 20, "{after:?}");
    assert!((after.tx_bytes - before.tx_bytes).abs_diff(expect) < 1 << 20, "{after:?}");
    assert_eq!(after.tx_dropped, 0);
    assert_eq!(lab.probe(domid).net_sent_bytes, counters().rx_bytes);
    lab.xen.control.pause(domid).unwrap();
    let before = counters();
    lab.run(1000);
    assert_eq!(counters().tx_bytes, before.tx_bytes);
    assert!(counters().tx_dropped > 2000);
}
