//! What guests do.

use super::{Lab, MIB, Order};
use crate::sim::Behaviour;
use crate::{RunState, ShutdownReason};

fn state(lab: &Lab, domid: crate::DomId) -> RunState {
    lab.info(domid).unwrap().state
}

#[test]
fn a_guest_boots_a_second_after_it_is_unpaused() {
    let lab = Lab::new();
    let domid = lab.build(&Order::default());
    lab.run(5000);
    assert!(!lab.probe(domid).booted);
    lab.xen.control.unpause(domid).unwrap();
    lab.run(900);
    assert!(!lab.probe(domid).booted);
    lab.run(200);
    assert!(lab.probe(domid).booted);
    assert_eq!(lab.get(domid, "control/feature-poweroff").as_deref(), Some("1"));
    assert_eq!(lab.get(domid, "console/tty"), Some(format!("/sim/console/{domid}")));
    assert!(lab.probe(domid).console.iter().any(|line| line.starts_with("VMM-GUEST-UP")));
}

#[test]
fn a_paused_guest_does_nothing() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { cmdline: "workload=burn:1", ..Order::default() });
    lab.xen.control.pause(domid).unwrap();
    lab.set(domid, "control/shutdown", "poweroff");
    let before = lab.info(domid).unwrap().cpu_time_ns;
    lab.run(5000);
    assert_eq!(lab.info(domid).unwrap().cpu_time_ns, before);
    assert_eq!(lab.get(domid, "control/shutdown").as_deref(), Some("poweroff"));
    lab.xen.control.unpause(domid).unwrap();
    lab.run(1000);
    assert_eq!(state(&lab, domid), RunState::Shutdown(ShutdownReason::Poweroff));
}

#[test]
fn every_shutdown_word_has_its_reason() {
    for (word, reason) in [
        ("poweroff", ShutdownReason::Poweroff),
        ("halt", ShutdownReason::Poweroff),
        ("reboot", ShutdownReason::Reboot),
        ("suspend", ShutdownReason::Suspend),
    ] {
        let lab = Lab::new();
        let domid = lab.boot(&Order::default());
        lab.set(domid, "control/shutdown", word);
        lab.run(50);
        assert_eq!(lab.get(domid, "control/shutdown").as_deref(), Some(""), "{word}");
        assert!(!matches!(state(&lab, domid), RunState::Shutdown(_)));
        lab.run(300);
        assert_eq!(state(&lab, domid), RunState::Shutdown(reason), "{word}");
    }
}

#[test]
fn a_burning_guest_uses_its_vcpus_and_no_more() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { cmdline: "workload=burn:3", ..Order::default() });
    let used = |milliseconds| {
        let before = lab.info(domid).unwrap().cpu_time_ns;
        lab.run(milliseconds);
        (lab.info(domid).unwrap().cpu_time_ns - before) / 1_000_000
    };
    assert_eq!(used(1000), 1000);
    lab.set(domid, "cpu/1/availability", "online");
    lab.run(100);
    assert_eq!(lab.probe(domid).cpus_online, 2);
    assert_eq!(used(1000), 2000);
    lab.set(domid, "cpu/1/availability", "offline");
    lab.run(10);
    assert_eq!(used(1000), 1000);
}

#[test]
fn memory_above_the_boot_maximum_comes_once_xen_allows_it() {
    let lab = Lab::new();
    let domid = lab.boot(&Order::default());
    let held = || lab.info(domid).unwrap().pages.kib();
    let start = held();
    lab.set(domid, "memory/target", &(512 * MIB).to_string());
    lab.run(20_000);
    assert_eq!(held(), start);
    lab.xen.memory.set_max(domid, 513 * MIB).unwrap();
    lab.run(35_000);
    assert_eq!(held(), start + 256 * MIB);
    lab.set(domid, "memory/target", &(384 * MIB).to_string());
    lab.run(2000);
    assert_eq!(held(), start + 128 * MIB);
}

#[test]
fn a_guest_with_room_in_its_map_grows_without_a_plug() {
    let lab = Lab::new();
    let order =
        Order { cmdline: "behaviour=crash-on-plug", spare_kib: 256 * MIB, ..Order::default() };
    let domid = lab.build(&order);
    let held = || lab.info(domid).unwrap().pages.kib();
    let start = held();
    lab.xen.memory.set_max(domid, 513 * MIB).unwrap();
    lab.xen.memory.set_pod_target(domid, 300 * MIB).unwrap();
    assert_eq!(held(), start + 44 * MIB);
    lab.xen.control.unpause(domid).unwrap();
    lab.run(3000);
    assert_eq!(held(), start);
    lab.xen.memory.set_pod_target(domid, 512 * MIB).unwrap();
    assert_eq!(held(), start);
    lab.set(domid, "memory/target", &(512 * MIB).to_string());
    lab.run(3000);
    assert_eq!(held(), start + 256 * MIB);
}

#[test]
fn the_balloon_moves_at_a_bounded_rate() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { memory_kib: 1024 * MIB, ..Order::default() });
    let start = lab.info(domid).unwrap().pages.kib();
    lab.set(domid, "memory/target", &(512 * MIB).to_string());
    lab.run(1000);
    let moved = start - lab.info(domid).unwrap().pages.kib();
    assert!((200 * MIB..=280 * MIB).contains(&moved), "{moved} KiB in a second");
}

#[test]
fn a_deaf_guest_runs_and_acknowledges_nothing() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { cmdline: "behaviour=deaf", ..Order::default() });
    lab.set(domid, "control/shutdown", "poweroff");
    lab.set(domid, "cpu/1/availability", "online");
    lab.set(domid, "memory/target", &(128 * MIB).to_string());
    let before = lab.info(domid).unwrap();
    lab.run(60_000);
    assert_eq!(lab.get(domid, "control/shutdown").as_deref(), Some("poweroff"));
    let after = lab.info(domid).unwrap();
    assert_eq!((after.pages, after.vcpus_online), (before.pages, 1));
    lab.machine.set_guest_behaviour(domid, Behaviour::Cooperative);
    lab.run(1000);
    assert_eq!(state(&lab, domid), RunState::Shutdown(ShutdownReason::Poweroff));
}

#[test]
fn a_hostile_guest_writes_only_where_it_may_and_within_its_quota() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { cmdline: "behaviour=hostile", ..Order::default() });
    lab.run(120_000);
    let home = format!("/local/domain/{domid}");
    assert_eq!(lab.read(&format!("{home}/domid")), Some(domid.to_string()));
    let junk = crate::StorePath::new(format!("{home}/data/junk")).unwrap();
    let nodes = lab.xen.store.directory(&junk).unwrap().len();
    assert!((500..1000).contains(&nodes), "{nodes} nodes");
    assert!(lab.get(domid, "device").is_none());
}

#[test]
fn a_fragile_guest_dies_of_a_plug() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { cmdline: "behaviour=crash-on-plug", ..Order::default() });
    lab.set(domid, "cpu/1/availability", "online");
    lab.run(100);
    assert_eq!(state(&lab, domid), RunState::Shutdown(ShutdownReason::Crash));
}

#[test]
fn a_guest_crashes_when_it_is_told_to() {
    let lab = Lab::new();
    let timed = lab.boot(&Order { cmdline: "crash=5", ..Order::default() });
    let ordered = lab.boot(&Order::default());
    lab.machine.crash_guest(ordered);
    assert_eq!(state(&lab, ordered), RunState::Shutdown(ShutdownReason::Crash));
    assert!(!matches!(state(&lab, timed), RunState::Shutdown(_)));
    lab.run(5000);
    assert_eq!(state(&lab, timed), RunState::Shutdown(ShutdownReason::Crash));
}
