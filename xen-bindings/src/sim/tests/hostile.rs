//! Guests that misbehave: what they can do, and that it ends at their own nodes.

use super::plug::{attach_vbd, attach_vif, backend, detach, frontend, states};
use super::{Lab, MIB, Order};
use crate::sim::{Behaviour, SimConfig, StoreFlavour};
use crate::{DomId, RunState, ShutdownReason, StorePath};

const DISK: &str = "vbd/51712";

/// A booted guest that begins to misbehave.
fn gone_bad(lab: &Lab, name: &str) -> DomId {
    let domid = lab.boot(&Order::default());
    lab.machine.set_guest_behaviour(domid, Behaviour::named(name).unwrap());
    lab.run(1000);
    domid
}

#[test]
fn every_behaviour_has_a_name_that_means_it() {
    let all: Vec<Behaviour> = Behaviour::all().collect();
    assert_eq!(all.len(), 14);
    for behaviour in all {
        assert_eq!(Behaviour::named(behaviour.name()), Some(behaviour));
    }
}

#[test]
fn a_guest_that_reboots_on_a_plug_does_so_once() {
    let lab = Lab::new();
    let domid = gone_bad(&lab, "reboot-on-plug");
    attach_vbd(&lab, domid, 51712, Some("7:0"));
    lab.run(1000);
    let state = lab.info(domid).unwrap().state;
    assert_eq!(state, RunState::Shutdown(ShutdownReason::Reboot));
    assert_eq!(states(&lab, domid, DISK)[1].as_deref(), Some("1"));
}

#[test]
fn a_guest_that_ignores_plugs_still_shuts_down() {
    let lab = Lab::new();
    let domid = gone_bad(&lab, "ignores-plugs");
    attach_vbd(&lab, domid, 51712, Some("7:0"));
    lab.set(domid, "cpu/1/availability", "online");
    lab.set(domid, "memory/target", &(128 * MIB).to_string());
    lab.run(30_000);
    let info = lab.info(domid).unwrap();
    assert_eq!((info.vcpus_online, lab.probe(domid).vbds_connected), (1, 0));
    assert_eq!(states(&lab, domid, DISK), [Some("2".into()), Some("1".into())]);
    lab.set(domid, "control/shutdown", "poweroff");
    lab.run(1000);
    let state = lab.info(domid).unwrap().state;
    assert_eq!(state, RunState::Shutdown(ShutdownReason::Poweroff));
}

#[test]
fn a_device_that_its_guest_reopens_all_the_time_can_be_taken_away() {
    let lab = Lab::new();
    let domid = gone_bad(&lab, "reopens-devices");
    attach_vbd(&lab, domid, 51712, Some("7:0"));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2000 {
        lab.run(1);
        seen.extend(states(&lab, domid, DISK)[0].clone());
    }
    assert!(["2", "4", "6"].iter().all(|state| seen.contains(*state)), "{seen:?}");
    detach(&lab, domid, DISK);
    lab.run(1000);
    assert!(lab.machine.vbd_counters(domid, 51712).is_none());
}

#[test]
fn nonsense_states_end_in_an_error_node_and_nowhere_else() {
    let mut complaints = 0;
    for seed in 0..8 {
        let lab = Lab::with(SimConfig { seed, ..SimConfig::default() });
        let domid = gone_bad(&lab, "nonsense-states");
        let neighbour = lab.boot(&Order::default());
        for id in [domid, neighbour] {
            attach_vbd(&lab, id, 51712, Some("7:0"));
        }
        lab.run(30_000);
        let error = format!("/local/domain/0/error/backend/vbd/{domid}/51712/error");
        complaints += u32::from(lab.read(&error).is_some_and(|text| text.contains("saw state")));
        assert_eq!(states(&lab, neighbour, DISK), [Some("4".into()), Some("4".into())]);
        lab.xen.store.remove(&StorePath::new(backend(domid, DISK)).unwrap()).unwrap();
        lab.run(100);
        assert!(lab.machine.vbd_counters(domid, 51712).is_none());
    }
    assert!((2..8).contains(&complaints), "{complaints}: some are let go before they complain");
}

#[test]
fn a_guest_that_removes_its_side_loses_the_device() {
    let lab = Lab::new();
    let domid = gone_bad(&lab, "removes-devices");
    attach_vbd(&lab, domid, 51712, Some("7:0"));
    attach_vif(&lab, domid, 0, &[]);
    lab.run(1000);
    for what in [DISK, "vif/0"] {
        assert_eq!(lab.read(&frontend(domid, what)), None, "{what}");
        assert!(lab.read(&backend(domid, what)).is_some(), "{what}");
    }
    assert_eq!(lab.machine.vif_interfaces(), []);
}

#[test]
fn a_guest_that_clings_to_its_disk_says_so_and_loses_it_all_the_same() {
    let lab = Lab::new();
    let domid = gone_bad(&lab, "clings");
    attach_vbd(&lab, domid, 51712, Some("7:0"));
    lab.run(100);
    detach(&lab, domid, DISK);
    lab.run(100);
    assert_eq!(states(&lab, domid, DISK)[1].as_deref(), Some("4"));
    lab.xen.store.remove(&StorePath::new(backend(domid, DISK)).unwrap()).unwrap();
    lab.run(10);
    assert!(lab.machine.vbd_counters(domid, 51712).is_none());
}

#[test]
fn a_guest_that_fills_its_quota_stops_there_and_harms_nobody() {
    let lab = Lab::new();
    let domid = gone_bad(&lab, "fills-quota");
    let neighbour = lab.boot(&Order::default());
    lab.run(5000);
    let folder = StorePath::new(format!("/local/domain/{domid}/data")).unwrap();
    let folders = lab.xen.store.directory(&folder).unwrap().len();
    assert_eq!(folders, 20, "of 51 nodes each");
    lab.set(domid, "dom0-may", "1");
    attach_vbd(&lab, neighbour, 51712, Some("7:0"));
    lab.run(100);
    assert_eq!(states(&lab, neighbour, DISK), [Some("4".into()), Some("4".into())]);
}

#[test]
fn a_flood_ends_at_the_guests_quota() {
    for store in StoreFlavour::ALL {
        let most = store.rules().guest_nodes_max;
        let lab = Lab::with(SimConfig { store, ..SimConfig::default() });
        let domid = gone_bad(&lab, "floods");
        lab.run(10_000);
        let junk = StorePath::new(format!("/local/domain/{domid}/data/flood")).unwrap();
        let nodes = lab.xen.store.directory(&junk).unwrap().len();
        assert!((most - 20..=most).contains(&nodes), "{nodes} nodes with {store:?}");
        let value = lab.xen.store.read(&junk.join("0").unwrap()).unwrap();
        assert_eq!(value.len(), 2048);
        assert_eq!(lab.get(domid, "domid"), Some(domid.to_string()));
    }
}
