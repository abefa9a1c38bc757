//! Guests that suspend, go on, are saved and come back.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;

use super::plug::{attach_vbd, both, states};
use super::{Lab, MIB, Order};
use crate::guest_image::RestoreSpec;
use crate::sim::{Behaviour, SimConfig};
use crate::{DomId, GuestKind, RunState, Shell, ShutdownReason, XenErrorKind};

const SUSPENDED: RunState = RunState::Shutdown(ShutdownReason::Suspend);

fn state(lab: &Lab, domid: DomId) -> RunState {
    lab.info(domid).unwrap().state
}

fn suspend(lab: &Lab, domid: DomId) {
    lab.set(domid, "control/shutdown", "suspend");
    lab.run(200);
    assert_eq!(state(lab, domid), SUSPENDED);
}

/// A file without a name.
fn file() -> File {
    let path =
        std::env::temp_dir().join(format!("vmm-sim-saved-{:?}", std::thread::current().id()));
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

fn saved(lab: &Lab, domid: DomId) -> File {
    let mut file = file();
    lab.xen.image.save(domid, file.as_fd()).unwrap();
    file.rewind().unwrap();
    file
}

fn restore(lab: &Lab, shell: &Shell, mut file: File) -> Result<(), XenErrorKind> {
    file.rewind().unwrap();
    let port = || lab.xen.evtchn.alloc_unbound(shell.domid(), DomId::DOM0).unwrap();
    let spec = RestoreSpec { store_port: port(), console_port: port() };
    let restored = lab.xen.image.restore(shell, file.as_fd(), &spec).map_err(|e| e.kind())?;
    lab.xen.store.introduce(shell.domid(), restored.store_gfn, spec.store_port).unwrap();
    Ok(())
}

#[test]
fn a_suspended_guest_goes_on_when_it_is_resumed() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { cmdline: "workload=burn:1", ..Order::default() });
    for _ in 0..3 {
        suspend(&lab, domid);
        let used = lab.info(domid).unwrap().cpu_time_ns;
        lab.run(1000);
        assert_eq!(lab.info(domid).unwrap().cpu_time_ns, used, "it computes while suspended");
        lab.xen.control.resume(domid).unwrap();
        lab.xen.store.resume(domid).unwrap();
        lab.run(1000);
        assert!(lab.info(domid).unwrap().cpu_time_ns > used);
    }
    lab.set(domid, "control/shutdown", "poweroff");
    lab.run(1000);
    assert_eq!(state(&lab, domid), RunState::Shutdown(ShutdownReason::Poweroff));
}

#[test]
fn only_a_suspended_guest_is_resumed_or_saved() {
    let lab = Lab::new();
    let domid = lab.boot(&Order::default());
    let check = |lab: &Lab| {
        assert_eq!(lab.xen.control.resume(domid).unwrap_err().kind(), XenErrorKind::Invalid);
        let save = lab.xen.image.save(domid, file().as_fd());
        assert_eq!(save.unwrap_err().kind(), XenErrorKind::Invalid);
    };
    check(&lab);
    lab.machine.crash_guest(domid);
    check(&lab);
}

#[test]
fn guests_answer_a_suspend_each_in_its_way() {
    for (behaviour, soon, late) in [
        ("deaf", RunState::Blocked, RunState::Blocked),
        ("slow", RunState::Blocked, SUSPENDED),
        (
            "crash-on-suspend",
            RunState::Shutdown(ShutdownReason::Crash),
            RunState::Shutdown(ShutdownReason::Crash),
        ),
    ] {
        let lab = Lab::new();
        let domid = lab.boot(&Order::default());
        lab.machine.set_guest_behaviour(domid, Behaviour::named(behaviour).unwrap());
        lab.run(15_000);
        lab.set(domid, "control/shutdown", "suspend");
        lab.run(1000);
        assert_eq!(state(&lab, domid), soon, "{behaviour}");
        lab.run(15_000);
        assert_eq!(state(&lab, domid), late, "{behaviour}");
    }
}

#[test]
fn a_saved_guest_comes_back_with_its_devices_where_it_was() {
    for kind in [GuestKind::Pvh, GuestKind::Pv] {
        let lab = Lab::new();
        let order = Order { kind, cmdline: "workload=disk:1,burn:1", vcpus: 4, ..Order::default() };
        let before = lab.machine.memory();
        let domid = lab.boot(&order);
        attach_vbd(&lab, domid, 51712, Some("7:0"));
        lab.set(domid, "cpu/1/availability", "online");
        lab.set(domid, "memory/target", &(192 * MIB).to_string());
        lab.run(5000);
        suspend(&lab, domid);
        let (old, pages) = (lab.probe(domid), lab.info(domid).unwrap().pages);
        let file = saved(&lab, domid);
        lab.xen.store.remove(&crate::StorePath::new("/local/domain/0/backend").unwrap()).unwrap();
        lab.xen.control.destroy(domid).unwrap();
        lab.run(1000);
        assert_eq!(lab.machine.memory(), before);

        let shell = lab.shell(&order);
        let again = shell.domid();
        restore(&lab, &shell, file).unwrap();
        lab.describe(again, &Order { memory_kib: 192 * MIB, kind, ..Order::default() });
        attach_vbd(&lab, again, 51712, Some("7:0"));
        lab.run(1000);
        assert_eq!(lab.probe(again).uptime.as_secs(), old.uptime.as_secs() + 1);
        assert_eq!(states(&lab, again, "vbd/51712"), both("2", "1"), "it runs while paused");
        lab.xen.control.unpause(again).unwrap();
        lab.run(1000);
        let new = lab.probe(again);
        assert_eq!(states(&lab, again, "vbd/51712"), both("4", "4"));
        assert_eq!(
            (new.cpus_online, lab.info(again).unwrap().pages),
            (2.max(old.cpus_online), pages)
        );
        assert!(new.disk_written_bytes > old.disk_written_bytes);
        assert!(new.console.iter().any(|line| line.starts_with("VMM-GUEST-UP")));
        assert!(lab.info(again).unwrap().cpu_time_ns > 500_000_000);
    }
}

const SMALL: u64 = 64 * MIB;

fn small() -> Order {
    Order { memory_kib: SMALL, ..Order::default() }
}

/// A guest of 64 MiB and 2 vCPUs, in a file.
fn usual(lab: &Lab) -> Vec<u8> {
    let domid = lab.boot(&small());
    suspend(lab, domid);
    let mut bytes = Vec::new();
    saved(lab, domid).read_to_end(&mut bytes).unwrap();
    lab.xen.control.destroy(domid).unwrap();
    lab.run(1000);
    bytes
}

fn filled(bytes: &[u8]) -> File {
    let mut file = file();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn a_stream_that_is_cut_or_whose_frame_is_changed_is_refused() {
    let lab = Lab::new();
    let bytes = usual(&lab);
    let attempt = |bytes: &[u8]| {
        let shell = lab.shell(&small());
        let outcome = restore(&lab, &shell, filled(bytes));
        lab.xen.control.destroy(shell.domid()).unwrap();
        lab.run(1000);
        outcome
    };
    for cut in [0, 7, 24, 39, 40, 100, bytes.len() / 2, bytes.len() - 9, bytes.len() - 1] {
        assert_eq!(attempt(&bytes[..cut]), Err(XenErrorKind::BadImage), "cut at {cut}");
    }
    // Headers, the number of the first record, the guest's own state, the end. Memory has no checksum.
    for at in [0, 9, 24, 28, 40, bytes.len() - 70, bytes.len() - 8] {
        let mut garbled = bytes.clone();
        garbled[at] ^= 0x40;
        assert_eq!(attempt(&garbled), Err(XenErrorKind::BadImage), "changed at {at}");
    }
    let mut longer = bytes.clone();
    longer.extend(b"somebody else's");
    assert_eq!(attempt(&longer), Ok(()));
}

#[test]
fn a_stream_that_does_not_fit_the_shell_or_the_host_is_refused() {
    let lab = Lab::with(SimConfig { memory_total_kib: 2 << 20, ..SimConfig::default() });
    let bytes = usual(&lab);
    for (order, expect) in [
        (Order { vcpus: 1, ..small() }, XenErrorKind::BadImage),
        (Order { kind: GuestKind::Pv, ..small() }, XenErrorKind::BadImage),
        (Order { memory_kib: 50 * MIB, ..small() }, XenErrorKind::BadImage),
    ] {
        let shell = lab.shell(&order);
        assert_eq!(restore(&lab, &shell, filled(&bytes)), Err(expect));
        lab.xen.control.destroy(shell.domid()).unwrap();
        lab.run(1000);
    }
    let large = lab.build(&Order { memory_kib: 930 * MIB, ..Order::default() });
    let shell = lab.shell(&small());
    assert_eq!(restore(&lab, &shell, filled(&bytes)), Err(XenErrorKind::OutOfMemory));
    lab.xen.control.destroy(shell.domid()).unwrap();
    lab.xen.control.destroy(large).unwrap();
    lab.run(1000);
    let shell = lab.shell(&small());
    restore(&lab, &shell, filled(&bytes)).unwrap();
    assert_eq!(restore(&lab, &shell, filled(&bytes)), Err(XenErrorKind::Invalid), "twice");
}

#[test]
fn a_processor_that_can_less_than_was_promised_says_nothing() {
    let there = Lab::new();
    let bytes = usual(&there);
    for (cpu_features, kept) in [(0x7fff, 0x7fff), (0x3fff, 0x3fff), (0xffff, 0x7fff)] {
        let here = Lab::with(SimConfig { cpu_features, ..SimConfig::default() });
        let shell = here.shell(&small());
        restore(&here, &shell, filled(&bytes)).unwrap();
        let told = here.xen.guest_state.cpu_policy(shell.domid()).unwrap();
        assert_eq!(told.leaves[1].ecx, kept);
    }
}

#[test]
fn a_descriptor_that_cannot_be_written_answers_with_its_errno() {
    let lab = Lab::new();
    let domid = lab.boot(&Order::default());
    suspend(&lab, domid);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let error = lab.xen.image.save(domid, full.as_fd()).unwrap_err();
    assert_eq!(error.kind(), XenErrorKind::Other(28));
    lab.xen.control.resume(domid).unwrap();
}
