//! The handshake between toolstack, backend and frontend.

use super::plug::{attach_vbd, backend, frontend};
use super::{Lab, MIB, Order};
use crate::contract::StoreFlavour;
use crate::sim::{Behaviour, SimConfig, VbdCounters};
use crate::{DomId, StorePath};

const DISK: &str = "vbd/51712";
const SECOND: &str = "vbd/51728";

fn attach(lab: &Lab, domid: DomId, ready: bool) {
    attach_vbd(lab, domid, 51712, ready.then_some("7:0"));
}

fn states(lab: &Lab, domid: DomId) -> [Option<String>; 2] {
    [backend(domid, DISK), frontend(domid, DISK)].map(|path| lab.read(&format!("{path}/state")))
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
        let sectors = lab.read(&format!("{}/sectors", backend(domid, DISK)));
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
    lab.write(&format!("{}/physical-device", backend(domid, DISK)), "7:0");
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
        lab.write(&format!("{}/online", backend(domid, DISK)), "0");
        lab.write(&format!("{}/state", backend(domid, DISK)), "5");
        lab.run(100);
        assert_eq!(states(&lab, domid), both("6", "6"));
        for path in [backend(domid, DISK), frontend(domid, DISK)] {
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
    lab.machine.set_guest_behaviour(domid, Behaviour::Deaf);
    lab.write(&format!("{}/online", backend(domid, DISK)), "0");
    lab.write(&format!("{}/state", backend(domid, DISK)), "5");
    lab.run(60_000);
    assert_eq!(states(&lab, domid), both("5", "4"));
    assert!(lab.machine.vbd_counters(domid, 51712).is_some());
    lab.xen.store.remove(&StorePath::new(backend(domid, DISK)).unwrap()).unwrap();
    lab.run(10);
    assert!(lab.machine.vbd_counters(domid, 51712).is_none());
}

#[test]
fn a_destroyed_domain_lives_on_while_a_backend_maps_its_ring() {
    let dead = |store| {
        let lab = Lab::with(SimConfig { store, ..SimConfig::default() });
        let domid = lab.boot(&Order::default());
        attach(&lab, domid, true);
        lab.run(100);
        lab.xen.control.destroy(domid).unwrap();
        lab.run(10_000);
        assert_eq!(states(&lab, domid), [Some("4".to_owned()), None], "{store:?}");
        (lab, domid)
    };
    let (lab, domid) = dead(StoreFlavour::C);
    assert!(lab.info(domid).is_none(), "the backend was told");
    let (lab, domid) = dead(StoreFlavour::Ocaml);
    assert_eq!(lab.info(domid).unwrap().state, crate::RunState::Dying);
    lab.xen.store.remove(&StorePath::new(backend(domid, DISK)).unwrap()).unwrap();
    lab.run(10);
    assert!(lab.info(domid).is_none());
}

#[test]
fn a_disk_workload_is_counted_on_both_sides() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { cmdline: "workload=disk:10", ..Order::default() });
    attach(&lab, domid, true);
    lab.run(100);
    let bytes = || lab.machine.vbd_counters(domid, 51712).unwrap().write_sectors * 512;
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
fn several_disks_come_and_go_each_by_itself() {
    let lab = Lab::new();
    lab.machine.set_block_device("7:1", 4 << 20);
    let domid = lab.boot(&Order::default());
    attach(&lab, domid, true);
    attach_vbd(&lab, domid, 51728, Some("7:1"));
    lab.run(100);
    let sizes = |lab: &Lab| lab.probe(domid).disk_bytes.into_iter().collect::<Vec<_>>();
    assert_eq!(sizes(&lab), [(51712, 1 << 30), (51728, 4 << 20)]);
    lab.write(&format!("{}/online", backend(domid, DISK)), "0");
    lab.write(&format!("{}/state", backend(domid, DISK)), "5");
    lab.run(100);
    assert_eq!(sizes(&lab), [(51728, 4 << 20)]);
    let state = lab.read(&format!("{}/state", backend(domid, SECOND)));
    assert_eq!(state.as_deref(), Some("4"));
}

#[test]
fn a_disk_that_grows_or_shrinks_is_seen_by_the_guest() {
    let lab = Lab::new();
    lab.machine.set_block_device("7:0", 8 << 20);
    let domid = lab.boot(&Order::default());
    attach(&lab, domid, true);
    lab.run(100);
    for mib in [64, 16] {
        lab.machine.set_block_device("7:0", mib << 20);
        lab.run(200);
        assert_eq!(lab.probe(domid).disk_bytes[&51712], mib << 20);
        let sectors = lab.read(&format!("{}/sectors", backend(domid, DISK)));
        assert_eq!(sectors, Some((mib << 11).to_string()));
    }
    lab.machine.set_guest_behaviour(domid, Behaviour::Deaf);
    lab.machine.set_block_device("7:0", 32 << 20);
    lab.run(60_000);
    assert_eq!(lab.probe(domid).disk_bytes[&51712], 16 << 20, "a deaf guest");
}

#[test]
fn requests_that_fail_are_counted_as_errors() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { cmdline: "workload=disk:1", ..Order::default() });
    attach(&lab, domid, true);
    lab.run(1000);
    let counters = || lab.machine.vbd_counters(domid, 51712).unwrap();
    assert!(counters().errors == 0 && counters().writes_something());
    lab.machine.set_block_device_failing("7:0", true);
    let before = counters();
    lab.run(1000);
    assert_eq!(counters().write_sectors, before.write_sectors);
    assert!(counters().errors > before.errors);
    lab.machine.set_block_device_failing("7:0", false);
    let before = counters();
    lab.run(1000);
    assert!(counters().errors == before.errors && counters() != before);
}

impl VbdCounters {
    fn writes_something(&self) -> bool {
        self.write_sectors > 0 && self.write_requests > 0
    }
}

#[test]
fn a_read_only_disk_takes_no_writes() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { cmdline: "workload=disk:1", ..Order::default() });
    attach(&lab, domid, false);
    lab.write(&format!("{}/mode", backend(domid, DISK)), "r");
    lab.write(&format!("{}/physical-device", backend(domid, DISK)), "7:0");
    lab.run(1000);
    let counters = lab.machine.vbd_counters(domid, 51712).unwrap();
    assert!(counters.read_sectors > 0 && counters.errors > 0, "{counters:?}");
    assert_eq!(counters.write_sectors, 0);
}

#[test]
fn a_state_that_is_no_state_is_written_down_and_not_followed() {
    let lab = Lab::new();
    let domid = lab.boot(&Order::default());
    attach(&lab, domid, true);
    lab.run(100);
    lab.write(&format!("{}/state", frontend(domid, DISK)), "77");
    lab.run(10);
    let error = "/local/domain/0/error/backend/vbd";
    let error = lab.read(&format!("{error}/{domid}/51712/error"));
    assert_eq!(error.as_deref(), Some("22 saw state 77 at frontend"));
    assert!(lab.machine.vbd_counters(domid, 51712).is_some());
    lab.write(&format!("{}/state", frontend(domid, DISK)), "nonsense");
    lab.run(10);
    assert!(lab.machine.vbd_counters(domid, 51712).is_none(), "the bus has let the device go");
}
