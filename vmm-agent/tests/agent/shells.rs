//! Guests built ahead: taken at once, given up when memory is short, never left behind.

use std::os::unix::fs::MetadataExt as _;

use vmm_proto::v1::{FaultCode, VmPhase};
use xen_bindings::XenErrorKind;
use xen_bindings::sim::{Op, SimConfig};

use crate::host::{Host, TestVm};

async fn primed(config: SimConfig) -> (Host, TestVm) {
    let mut host = Host::with(config).await;
    host.kill_agent().await;
    host.shells = 2;
    host.start_agent().await;
    let vm = host.vm(2);
    for _ in 0..2 {
        host.build(&vm).await.unwrap();
        host.destroy(&vm).await.unwrap();
    }
    host.sleep(20).await;
    (host, vm)
}

fn domains(host: &Host) -> usize {
    host.backend.xen.control.list().unwrap().len() - 1
}

#[tokio::test(start_paused = true)]
async fn a_vm_of_a_known_flavour_takes_a_shell_and_another_one_is_made() {
    let (host, vm) = primed(SimConfig::default()).await;
    let load = host.report().await.load;
    assert_eq!((load.shell_count, domains(&host)), (2, 2), "{load:?}");
    assert!(load.shell_memory_kib > 2 * (128 << 10));
    let mut other = host.vm(1);
    other.spec.nics = vec![Host::nic(0, "br0")];
    host.machine.recorder().clear();
    host.build(&other).await.unwrap();
    assert_eq!(host.machine.recorder().count(Op::GuestBuild), 0, "it was built before");
    host.sleep(20).await;
    assert_eq!((host.report().await.load.shell_count, domains(&host)), (2, 3));
    let guest = host.machine.guest(host.domid(&other).await).unwrap();
    assert_eq!((guest.vbds_connected, guest.vifs_connected), (1, 1));
    assert_eq!(host.set_memory(&other, 100).await.unwrap().note, "");
    host.shutdown(&other, 30).await.unwrap();
    let mut larger = vm.clone();
    larger.spec.memory_kib += 1024;
    host.machine.recorder().clear();
    host.build(&larger).await.unwrap();
    assert!(host.machine.recorder().count(Op::GuestBuild) > 0, "another flavour");
}

#[tokio::test(start_paused = true)]
async fn shells_go_with_their_time_and_with_their_agent() {
    let (mut host, vm) = primed(SimConfig::default()).await;
    host.kill_agent().await;
    assert_eq!(domains(&host), 2, "a killed agent leaves them");
    host.start_agent().await;
    host.sleep(1).await;
    assert_eq!(domains(&host), 0, "the next one removes them");
    assert!(host.report().await.vms.iter().all(|known| known.vm == vm.id), "they are no VMs");
    for _ in 0..2 {
        host.build(&vm).await.unwrap();
        host.destroy(&vm).await.unwrap();
    }
    host.sleep(20).await;
    assert_eq!(domains(&host), 2);
    host.sleep(700).await;
    assert_eq!(domains(&host), 0, "nobody has asked for them");
    host.build(&vm).await.unwrap();
    host.build(&host.vm(3)).await.unwrap();
    host.sleep(20).await;
    assert_eq!(domains(&host), 4);
    host.agent().stop().await;
    assert_eq!(domains(&host), 2, "an agent that stops takes its shells along, and no guest");
}

#[tokio::test(start_paused = true)]
async fn shells_give_way_to_vms() {
    let config =
        SimConfig { memory_total_kib: 1 << 20, dom0_memory_kib: 512 << 10, ..SimConfig::default() };
    let (host, mut vm) = primed(config).await;
    assert_eq!(host.report().await.load.shell_count, 2);
    let facts = host.report().await.facts;
    assert!(facts.memory_kib > 440 << 10, "shells count as free: {facts:?}");
    (vm.spec.memory_kib, vm.spec.memory_max_kib) = (400 << 10, 400 << 10);
    host.build(&vm).await.unwrap();
    assert_eq!(host.report().await.load.shell_count, 0);
    let fault = host.build(&host.vm(3)).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::OutOfMemory);
    host.destroy(&vm).await.unwrap();
    host.sleep(1).await;
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_shell_that_somebody_ended_costs_only_its_time() {
    let (host, vm) = primed(SimConfig::default()).await;
    for domain in host.backend.xen.control.list().unwrap().into_iter().skip(1) {
        host.backend.xen.control.destroy(domain.domid).unwrap();
    }
    host.sleep(1).await;
    host.build(&vm).await.unwrap();
    assert_eq!(host.phase(&vm).await, VmPhase::Running);
}

#[tokio::test(start_paused = true)]
async fn a_start_from_a_shell_that_fails_at_any_step_leaves_nothing() {
    for step in 1..90 {
        let (host, _) = primed(SimConfig::default()).await;
        let vm = host.vm(1);
        host.machine.faults().fail_step(step);
        let _ = host.build(&vm).await;
        host.machine.faults().clear();
        let _ = host.destroy(&vm).await;
        host.sleep(5).await;
        host.build(&vm).await.unwrap();
        host.destroy(&vm).await.unwrap();
        host.agent().stop().await;
        host.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_shell_that_was_not_built_goes_with_the_next_agent() {
    let (mut host, vm) = primed(SimConfig::default()).await;
    // The two that wait are taken; those that take their place are not built, and cannot be taken back.
    host.machine.faults().fail_always(Op::EvtchnAlloc, XenErrorKind::Other(5));
    host.machine.faults().fail_always(Op::DomainDestroy, XenErrorKind::Other(5));
    host.build(&vm).await.unwrap();
    host.sleep(300).await;
    assert_eq!(domains(&host), 3, "the VM, a shell, and what is left of another one");
    host.kill_agent().await;
    host.machine.faults().clear();
    host.start_agent().await;
    host.sleep(1).await;
    assert_eq!(domains(&host), 1, "the VM");
    host.destroy(&vm).await.unwrap();
    host.agent().stop().await;
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_shell_that_cannot_be_written_down_for_its_vm_is_no_vms() {
    let (host, vm) = primed(SimConfig::default()).await;
    let (shells, obstacle) = (domains(&host), host.path(&format!("state/vms/{}.new", vm.id)));
    // Once the intent is written down, in a file of its own as ever, and before the shell is taken.
    let record = host.path(&format!("state/vms/{}.json", vm.id));
    let file = || std::fs::metadata(&record).map(|file| file.ino()).ok();
    let before = file();
    let fill = async {
        while file() == before {
            tokio::task::yield_now().await;
        }
        std::fs::create_dir(&obstacle).unwrap();
    };
    let (built, ()) = tokio::join!(host.build(&vm), fill);
    let fault = built.unwrap_err();
    assert!(fault.message.contains("step take-shell failed"), "{fault}");
    std::fs::remove_dir(&obstacle).unwrap();
    assert_eq!(host.report().await.load.shell_count as usize, shells, "it waits for the next VM");
    host.destroy(&vm).await.unwrap();
    host.build(&vm).await.unwrap();
    host.destroy(&vm).await.unwrap();
    host.agent().stop().await;
    host.assert_clean();
}
