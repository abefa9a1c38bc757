//! Claims, affinity, shells that change hands.

use super::{Lab, MIB, Order};
use crate::sim::SimConfig;
use crate::vcpu::Affinity;
use crate::{DomId, GuestKind, XenErrorKind};

fn kind<T: std::fmt::Debug>(outcome: Result<T, crate::XenError>) -> Result<T, XenErrorKind> {
    outcome.map_err(|error| error.kind())
}

#[test]
fn a_claim_is_kept_until_it_is_redeemed_or_given_back() {
    let lab = Lab::with(SimConfig { memory_total_kib: 2 << 20, ..SimConfig::default() });
    let before = lab.machine.memory();
    let claimed = || lab.xen.host.physinfo().unwrap().memory_claimed_kib;
    let free = || lab.xen.host.physinfo().unwrap().memory_free_kib;
    let mine = lab.shell(&Order { memory_kib: 600 * MIB, ..Order::default() });
    let start = free();
    lab.xen.memory.claim(mine.domid(), 600 * MIB).unwrap();
    assert_eq!((claimed(), free()), (600 * MIB, start), "claimed memory is still free");
    let other = lab.shell(&Order { memory_kib: 600 * MIB, ..Order::default() });
    let refused = lab.xen.memory.claim(other.domid(), 600 * MIB);
    assert_eq!(kind(refused), Err(XenErrorKind::OutOfMemory));
    for bad in [1, 600 * MIB, 602 * MIB] {
        let refused = lab.xen.memory.claim(mine.domid(), bad);
        assert_eq!(kind(refused), Err(XenErrorKind::Invalid), "a second claim, {bad} KiB");
    }
    lab.xen.memory.claim(mine.domid(), 0).unwrap();
    assert_eq!(claimed(), 0);
    let refused = lab.xen.memory.claim(mine.domid(), 700 * MIB);
    assert_eq!(kind(refused), Err(XenErrorKind::Invalid), "above its limit");
    lab.xen.memory.claim(mine.domid(), 500 * MIB).unwrap();
    for domid in [mine.domid(), other.domid()] {
        lab.xen.control.destroy(domid).unwrap();
        assert_eq!(claimed(), 0, "its claim ends with it");
    }
    lab.run(1000);
    assert_eq!(lab.machine.memory(), before);
}

#[test]
fn a_claim_of_a_domain_that_holds_memory_counts_what_it_holds() {
    let lab = Lab::new();
    let domid = lab.boot(&Order::default());
    let held = lab.info(domid).unwrap().pages.kib();
    lab.xen.memory.set_max(domid, held + 64 * MIB).unwrap();
    assert_eq!(kind(lab.xen.memory.claim(domid, held)), Err(XenErrorKind::Invalid));
    lab.xen.memory.claim(domid, held + 64 * MIB).unwrap();
    assert_eq!(lab.machine.memory().claimed, 64 * MIB / 4);
    lab.set(domid, "memory/target", &(288 * MIB).to_string());
    lab.run(2000);
    assert_eq!(lab.info(domid).unwrap().pages.kib(), held + 32 * MIB);
    assert_eq!(lab.machine.memory().claimed, 32 * MIB / 4);
    lab.set(domid, "memory/target", &(256 * MIB).to_string());
    lab.run(2000);
    assert_eq!(lab.machine.memory().claimed, 64 * MIB / 4, "what it gives back is claimed again");
}

#[test]
fn a_pinned_domain_uses_no_more_than_it_is_pinned_to() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { cmdline: "workload=burn:2", ..Order::default() });
    lab.set(domid, "cpu/1/availability", "online");
    lab.run(100);
    let used = || {
        let before = lab.info(domid).unwrap().cpu_time_ns;
        lab.run(1000);
        (lab.info(domid).unwrap().cpu_time_ns - before) / 1_000_000
    };
    assert_eq!(used(), 2000);
    let pin = |hard: &[u32]| {
        for index in 0..2 {
            let affinity = Affinity { hard: hard.to_vec(), soft: vec![] };
            lab.xen.vcpu.set_affinity(domid, index, &affinity).unwrap();
        }
    };
    pin(&[3]);
    assert_eq!(used(), 1000);
    assert_eq!(lab.xen.vcpu.info(domid, 1).unwrap().pcpu_index, 3);
    pin(&[]);
    assert_eq!(used(), 2000);
}

#[test]
fn affinity_is_told_as_the_host_can_have_it() {
    let lab = Lab::new();
    let shell = lab.shell(&Order::default());
    let domid = shell.domid();
    for (hard, soft, told) in [
        (vec![], vec![], (vec![], vec![])),
        (vec![2, 0, 2], vec![1], (vec![0, 2], vec![1])),
        (vec![0, 1, 2, 3], vec![3, 2, 1, 0], (vec![], vec![])),
        (vec![1, 900], vec![900], (vec![1], vec![])),
    ] {
        lab.xen.vcpu.set_affinity(domid, 1, &Affinity { hard, soft }).unwrap();
        let Affinity { hard, soft } = lab.xen.vcpu.affinity(domid, 1).unwrap();
        assert_eq!((hard, soft), told);
    }
    let nowhere = Affinity { hard: vec![4, 900], soft: vec![] };
    let refused = lab.xen.vcpu.set_affinity(domid, 1, &nowhere);
    assert_eq!(kind(refused), Err(XenErrorKind::Invalid));
    assert_eq!(lab.xen.vcpu.affinity(domid, 1).unwrap().hard, [1], "after a refusal");
    assert_eq!(kind(lab.xen.vcpu.affinity(domid, 2)), Err(XenErrorKind::NoSuchDomain));
}

#[test]
fn a_shell_is_reclaimed_as_what_it_is_and_not_once_it_is_built() {
    let lab = Lab::new();
    let shell = lab.shell(&Order::default());
    let reclaim = |domid: DomId, kind_: GuestKind, vcpus| {
        kind(lab.xen.vcpu.reclaim(domid, kind_, vcpus)).map(|shell| shell.domid())
    };
    let (domid, invalid) = (shell.domid(), Err(XenErrorKind::Invalid));
    assert_eq!(reclaim(domid, GuestKind::Pvh, 2), Ok(domid));
    assert_eq!(reclaim(domid, GuestKind::Pvh, 3), invalid);
    assert_eq!(reclaim(domid, GuestKind::Pv, 2), invalid);
    let built = lab.build(&Order::default());
    assert_eq!(reclaim(built, GuestKind::Pvh, 2), invalid);
    lab.xen.control.destroy(domid).unwrap();
    assert_eq!(reclaim(domid, GuestKind::Pvh, 2), invalid, "while it is dying");
    lab.run(1000);
    assert_eq!(reclaim(domid, GuestKind::Pvh, 2), Err(XenErrorKind::NoSuchDomain));
}
