//! Time, faults, power and watchers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Lab, Order};
use crate::sim::{Op, SimConfig};
use crate::{DomId, DomainConfig, DomainHandle, GuestKind, StoreError, StorePath, XenErrorKind};

fn config() -> DomainConfig {
    DomainConfig::new(DomainHandle([1; 16]), GuestKind::Pvh, 1)
}

#[test]
fn domain_ids_wrap_before_the_reserved_range_and_skip_those_in_use() {
    let lab = Lab::new();
    let kept = lab.xen.control.create(&config()).unwrap().domid();
    let mut last = kept;
    for _ in 0..0x7ff0 {
        let domid = lab.xen.control.create(&config()).unwrap().domid();
        lab.xen.control.destroy(domid).unwrap();
        lab.clock.wind(Duration::from_millis(250));
        if domid < last {
            assert_eq!((domid.get(), last.get()), (2, 0x7fef));
            return;
        }
        last = domid;
    }
    panic!("ids never wrapped");
}

#[test]
fn an_idle_machine_has_nothing_to_wait_for() {
    let lab = Lab::new();
    assert_eq!(lab.machine.advance(), None);
    lab.boot(&Order::default());
    assert_eq!(lab.machine.advance(), None);
}

#[test]
fn the_driver_is_woken_for_an_earlier_event_only() {
    let lab = Lab::new();
    let wakes = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&wakes);
    lab.machine.on_wake(Arc::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    }));
    let first = lab.xen.control.create(&config()).unwrap().domid();
    assert_eq!(wakes.load(Ordering::SeqCst), 0);
    lab.xen.control.destroy(first).unwrap();
    assert_eq!(wakes.load(Ordering::SeqCst), 1);
    let next = lab.machine.advance().unwrap();
    lab.xen.control.list().unwrap();
    assert_eq!(wakes.load(Ordering::SeqCst), 1);
    lab.clock.wind(next);
    assert_eq!(lab.machine.advance(), None);
    assert!(lab.info(first).is_none());
}

#[test]
fn an_ordered_failure_has_no_other_effect() {
    let lab = Lab::new();
    let node = StorePath::new("/x").unwrap();
    lab.machine.faults().fail_next(Op::DomainCreate, XenErrorKind::OutOfMemory);
    lab.machine.faults().fail_nth(Op::StoreWrite, 2, StoreError::Quota);
    let error = lab.xen.control.create(&config()).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (XenErrorKind::OutOfMemory, "domain_create"));
    assert_eq!(lab.xen.control.list().unwrap().len(), 1);
    lab.xen.store.write(&node, b"1").unwrap();
    assert_eq!(lab.xen.store.write(&node, b"2"), Err(StoreError::Quota));
    assert_eq!(lab.read("/x").as_deref(), Some("1"));
}

#[test]
fn every_step_of_a_start_can_be_made_to_fail() {
    let lab = Lab::new();
    lab.boot(&Order::default());
    let steps = lab.machine.recorder().calls().len();
    lab.machine.recorder().clear();
    assert!(steps > 15, "{steps}");
    lab.machine.faults().fail_step(3);
    let outcomes: Vec<bool> = (0..5).map(|_| lab.xen.control.list().is_ok()).collect();
    assert_eq!(outcomes, [true, true, false, true, true]);
    assert_eq!(lab.machine.recorder().count(Op::DomainList), 5);
}

#[test]
fn a_sink_may_misbehave_without_a_deadlock() {
    let lab = Lab::new();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (notes, store) = (Arc::clone(&heard), Arc::clone(&lab.xen.store));
    let (top, other) = (StorePath::new("/top").unwrap(), StorePath::new("/top/again").unwrap());
    let sink = Arc::new(move |path: &str| {
        notes.lock().unwrap().push(path.to_owned());
        if path == "/top/x" {
            store.write(&other, b"").unwrap();
        }
    });
    let watch = lab.xen.store.watch(top.as_str(), sink).unwrap();
    lab.write("/top/x", "1");
    assert_eq!(*heard.lock().unwrap(), ["/top", "/top/x", "/top/again"]);
    drop(watch);
    lab.write("/top/x", "2");
    assert_eq!(heard.lock().unwrap().len(), 3);
}

#[test]
fn power_loss_takes_everything_but_dom0() {
    let lab = Lab::new();
    let before = lab.machine.memory();
    let domid = lab.boot(&Order::default());
    let transaction = lab.xen.store.begin().unwrap();
    let watch = lab.xen.store.watch("/x", Arc::new(|_: &str| {})).unwrap();
    lab.machine.power_loss();
    assert!(lab.xen.control.list().is_err());
    assert!(matches!(transaction.commit(), Err(StoreError::Disconnected(_))));
    drop(watch);
    let xen = lab.machine.xen();
    assert_eq!(xen.control.list().unwrap().len(), 1);
    assert_eq!(xen.control.info(domid).unwrap(), None);
    assert!(xen.store.read(&StorePath::domain(domid)).is_err());
    assert!(xen.store.read(&StorePath::domain(DomId::DOM0)).is_ok());
    assert_eq!(lab.machine.memory(), before);
}

#[test]
fn a_host_without_hvm_cannot_run_pvh() {
    let lab = Lab::with(SimConfig { hvm: false, ..SimConfig::default() });
    let error = lab.xen.control.create(&config()).unwrap_err();
    assert_eq!(error.kind(), XenErrorKind::Unsupported);
    assert!(!lab.xen.host.physinfo().unwrap().hvm);
}
