//! The handshake between toolstack, backend and frontend.

use super::{Lab, MIB, Order};
use crate::{DomId, StorePath};

const DISK: u32 = 51712;

fn backend(domid: DomId) -> String {
    format!("/local/domain/0/backend/vbd/{domid}/{DISK}")
}

fn frontend(domid: DomId) -> String {
    format!("/local/domain/{domid}/device/vbd/{DISK}")
}

/// What a toolstack writes; the device itself comes later, when `ready`.
fn attach(lab: &Lab, domid: DomId, ready: bool) {
    let (back, front) = (backend(domid), frontend(domid));
    for (path, value) in [
        (format!("{back}/frontend"), front.as_str()),
        (format!("{back}/frontend-id"), &domid.to_string()),
        (format!("{back}/online"), "1"),
        (format!("{back}/state"), "1"),
        (format!("{back}/params"), "/dev/loop0"),
        (format!("{back}/mode"), "w"),
        (format!("{front}/backend"), back.as_str()),
        (format!("{front}/backend-id"), "0"),
        (format!("{front}/state"), "1"),
    ] {
        lab.write(&path, value);
    }
    lab.permit(&front, domid, true);
    lab.permit(&format!("{front}/state"), domid, true);
    lab.permit(&back, domid, false);
    lab.permit(&format!("{back}/state"), domid, false);
    if ready {
        lab.write(&format!("{back}/physical-device"), "7:0");
    }
}

fn states(lab: &Lab, domid: DomId) -> [Option<String>; 2] {
    [backend(domid), frontend(domid)].map(|path| lab.read(&format!("{path}/state")))
}

fn both(back: &str, front: &str) -> [Option<String>; 2] {
    [Some(back.into()), Some(front.into())]
}

#[test]
fn a_disk_connects_before_boot_and_while_the_guest_runs() {
    for late in [false, true] {
        let lab = Lab::new();
        lab.machine.set_block_device("7:0", 20 << 20);
        let domid = if late { lab.boot(&Order::default()) } else { lab.build(&Order::default()) };
        attach(&lab, domid, true);
        if !late {
            lab.run(100);
            assert_eq!(states(&lab, domid), both("2", "1"));
            lab.xen.control.unpause(domid).unwrap();
        }
        lab.run(2000);
        assert_eq!(states(&lab, domid), both("4", "4"), "late: {late}");
        let sectors = lab.read(&format!("{}/sectors", backend(domid)));
        assert_eq!(sectors.as_deref(), Some("40960"));
        assert_eq!(lab.probe(domid).vbds_connected, 1);
    }
}

#[test]
fn a_backend_waits_for_its_device() {
    let lab = Lab::new();
    let domid = lab.boot(&Order::default());
    attach(&lab, domid, false);
    lab.run(5000);
    assert_eq!(states(&lab, domid), both("2", "3"));
    lab.write(&format!("{}/physical-device", backend(domid)), "7:0");
    lab.run(100);
    assert_eq!(states(&lab, domid), both("4", "4"));
}

#[test]
fn a_disk_is_taken_away_in_order_and_can_come_back() {
    let lab = Lab::new();
    let domid = lab.boot(&Order::default());
    for _ in 0..2 {
        attach(&lab, domid, true);
        lab.run(100);
        assert_eq!(states(&lab, domid), both("4", "4"));
        lab.write(&format!("{}/online", backend(domid)), "0");
        lab.write(&format!("{}/state", backend(domid)), "5");
        lab.run(100);
        assert_eq!(states(&lab, domid), both("6", "6"));
        for path in [backend(domid), frontend(domid)] {
            lab.xen.store.remove(&StorePath::new(path).unwrap()).unwrap();
        }
        lab.run(100);
        assert_eq!(lab.probe(domid).vbds_connected, 0);
    }
}

#[test]
fn a_deaf_guest_keeps_its_disk_until_the_nodes_are_removed() {
    let lab = Lab::new();
    let domid = lab.boot(&Order::default());
    attach(&lab, domid, true);
    lab.run(100);
    lab.machine.set_guest_behaviour(domid, crate::sim::Behaviour::Deaf);
    lab.write(&format!("{}/online", backend(domid)), "0");
    lab.write(&format!("{}/state", backend(domid)), "5");
    lab.run(60_000);
    assert_eq!(states(&lab, domid), both("5", "4"));
    assert!(lab.machine.vbd_counters(domid, DISK).is_some());
    lab.xen.store.remove(&StorePath::new(backend(domid)).unwrap()).unwrap();
    lab.run(10);
    assert!(lab.machine.vbd_counters(domid, DISK).is_none());
}

#[test]
fn a_destroyed_domain_lives_on_while_a_backend_maps_its_ring() {
    let lab = Lab::new();
    let domid = lab.boot(&Order::default());
    attach(&lab, domid, true);
    lab.run(100);
    lab.xen.control.destroy(domid).unwrap();
    lab.run(10_000);
    assert_eq!(lab.info(domid).unwrap().state, crate::RunState::Dying);
    lab.xen.store.remove(&StorePath::new(backend(domid)).unwrap()).unwrap();
    lab.run(10);
    assert!(lab.info(domid).is_none());
}

#[test]
fn a_disk_workload_is_counted_on_both_sides() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { cmdline: "workload=disk:10", ..Order::default() });
    attach(&lab, domid, true);
    lab.run(100);
    let bytes = || lab.machine.vbd_counters(domid, DISK).unwrap().write_sectors * 512;
    let before = bytes();
    lab.run(10_000);
    let moved = bytes() - before;
    assert!(moved.abs_diff(100 * MIB * 1024) < 4096, "{moved}");
    assert!(lab.probe(domid).disk_written_bytes.abs_diff(bytes()) < 512);
    lab.xen.control.pause(domid).unwrap();
    let before = bytes();
    lab.run(10_000);
    assert_eq!(bytes(), before);
}

#[test]
fn a_nic_connects_when_its_bridge_port_is_there() {
    let lab = Lab::new();
    let domid = lab.boot(&Order::default());
    let back = format!("/local/domain/0/backend/vif/{domid}/0");
    let front = format!("/local/domain/{domid}/device/vif/0");
    lab.write(&format!("{back}/online"), "1");
    lab.write(&format!("{back}/state"), "1");
    lab.permit(&format!("{back}/state"), domid, false);
    lab.write(&format!("{front}/backend"), &back);
    lab.write(&format!("{front}/state"), "1");
    lab.permit(&front, domid, true);
    lab.permit(&format!("{front}/state"), domid, true);
    lab.run(1000);
    assert_eq!(lab.read(&format!("{back}/state")).as_deref(), Some("2"));
    lab.write(&format!("{back}/hotplug-status"), "connected");
    lab.run(100);
    assert_eq!(lab.read(&format!("{back}/state")).as_deref(), Some("4"));
    assert_eq!(lab.probe(domid).vifs_connected, 1);
}
