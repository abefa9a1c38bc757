//! PV guests, where they differ.

use super::{Lab, MIB, Order};
use crate::{GuestKind, XenErrorKind};

fn order() -> Order {
    Order { kind: GuestKind::Pv, vcpus: 4, ..Order::default() }
}

#[test]
fn a_pv_guest_needs_no_pool_and_boots_sooner() {
    let lab = Lab::new();
    let domid = lab.build(&order());
    let pool = lab.xen.memory.set_paging_pool(domid, 1 << 20);
    assert_eq!(pool.unwrap_err().kind(), XenErrorKind::Unsupported);
    lab.xen.control.unpause(domid).unwrap();
    lab.run(600);
    assert!(lab.probe(domid).booted);
    assert_eq!(lab.get(domid, "control/feature-poweroff").as_deref(), Some("1"));
}

#[test]
fn a_pv_guest_starts_all_its_vcpus_and_puts_the_spare_ones_away() {
    let lab = Lab::new();
    let domid = lab.build(&order());
    for index in 0..4 {
        let word = if index < 2 { "online" } else { "offline" };
        lab.set(domid, &format!("cpu/{index}/availability"), word);
    }
    lab.xen.control.unpause(domid).unwrap();
    lab.run(600);
    assert_eq!(lab.info(domid).unwrap().vcpus_online, 4);
    lab.run(400);
    assert_eq!(lab.info(domid).unwrap().vcpus_online, 2);
    lab.set(domid, "cpu/3/availability", "online");
    lab.run(200);
    assert_eq!(lab.info(domid).unwrap().vcpus_online, 3);
}

#[test]
fn a_pv_guest_grows_above_its_boot_maximum_too() {
    let lab = Lab::new();
    let domid = lab.boot(&order());
    let start = lab.info(domid).unwrap().pages.kib();
    lab.xen.memory.set_max(domid, 513 * MIB).unwrap();
    lab.set(domid, "memory/target", &(512 * MIB).to_string());
    lab.run(5000);
    assert_eq!(lab.info(domid).unwrap().pages.kib(), start + 256 * MIB);
}
