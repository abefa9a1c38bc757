//! Guests that do not cooperate.

use vmm_proto::v1::{FaultCode, VmPhase};
use xen_bindings::store::read_text;
use xen_bindings::{ShutdownReason, StorePath};

use crate::host::{Host, TestVm};

async fn node(host: &Host, vm: &TestVm, relative: &str) -> String {
    let path = StorePath::domain(host.domid(vm).await).join(relative).unwrap();
    read_text(host.backend.xen.store.as_ref(), &path).unwrap().unwrap()
}

async fn guest(behaviour: &str) -> (Host, TestVm) {
    let host = Host::new().await;
    let mut vm = host.vm(1);
    vm.spec.cmdline = format!("behaviour={behaviour}");
    host.build(&vm).await.unwrap();
    host.sleep(3).await;
    (host, vm)
}

#[tokio::test(start_paused = true)]
async fn a_deaf_guest_gets_reports_of_what_did_not_happen_and_requests_are_withdrawn() {
    let (host, vm) = guest("deaf").await;
    let vcpus = host.set_vcpus(&vm, 3).await.unwrap();
    assert_eq!((vcpus.asked, vcpus.online), (3, 1));
    assert!(vcpus.note.contains("did not bring up vCPU 1, 2;"), "{}", vcpus.note);
    assert_eq!(node(&host, &vm, "cpu/1/availability").await, "offline");

    let before = host.reported(&vm).await.memory_kib;
    let memory = host.set_memory(&vm, 512).await.unwrap();
    assert_eq!(memory.reached_kib, before);
    assert!(memory.note.contains("withdrawn"), "{}", memory.note);
    assert_eq!(node(&host, &vm, "memory/target").await, before.to_string());
    let memory = host.set_memory(&vm, 64).await.unwrap();
    assert!(memory.note.contains("keeps the target"), "{}", memory.note);

    let fault = host.shutdown(&vm, 5).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::TimedOut);
    assert!(fault.message.contains("has not heard"), "{fault}");
    assert_eq!(node(&host, &vm, "control/shutdown").await, "");
    assert_eq!(host.phase(&vm).await, VmPhase::Running);
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn while_one_change_waits_another_is_busy_and_a_destroy_goes_through() {
    let (host, vm) = guest("deaf").await;
    let (first, second) = tokio::join!(host.set_vcpus(&vm, 3), host.set_memory(&vm, 64));
    assert!(first.is_ok());
    assert_eq!(second.unwrap_err().code, FaultCode::Busy);
    let (change, destroy) = tokio::join!(host.set_vcpus(&vm, 3), async {
        host.sleep(1).await;
        host.destroy(&vm).await
    });
    assert_eq!(change.unwrap_err().code, FaultCode::Cancelled);
    destroy.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_hostile_guest_stalls_nobody() {
    let (host, vm) = guest("hostile").await;
    let good = host.vm(2);
    host.build(&good).await.unwrap();
    host.sleep(3).await;
    assert_eq!(host.set_vcpus(&good, 2).await.unwrap().online, 2);
    assert_eq!(host.set_vcpus(&vm, 2).await.unwrap().online, 1);
    assert_eq!(host.shutdown(&vm, 3).await.unwrap_err().code, FaultCode::TimedOut);
    host.stats(&vm).await.unwrap();
    host.shutdown(&good, 10).await.unwrap();
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_crashes_during_a_plug_fails_that_request() {
    let (host, vm) = guest("crash-on-plug").await;
    let fault = host.set_vcpus(&vm, 2).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::BadState, "{fault}");
    assert!(fault.message.contains("crashed"), "{fault}");
    assert_eq!(host.phase(&vm).await, VmPhase::Crashed);
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_vm_without_spare_vcpus_gets_none() {
    let (host, vm) = guest("cooperative").await;
    assert_eq!(host.set_vcpus(&vm, 5).await.unwrap_err().code, FaultCode::BadRequest);
    assert_eq!(host.set_vcpus(&vm, 0).await.unwrap_err().code, FaultCode::BadRequest);
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_does_little_but_reboot_waits_for_its_next_build_and_can_be_destroyed_meanwhile()
 {
    let (host, vm) = guest("cooperative").await;
    let reboot = || async {
        let domid = host.domid(&vm).await;
        host.backend.xen.control.shutdown(domid, ShutdownReason::Reboot).unwrap();
        host.sleep(1).await;
    };
    for _ in 0..3 {
        reboot().await;
        assert_eq!(host.phase(&vm).await, VmPhase::Running, "the first ones are served at once");
    }
    reboot().await;
    assert_eq!(host.phase(&vm).await, VmPhase::Rebooting);
    host.sleep(3).await;
    assert_eq!(host.phase(&vm).await, VmPhase::Running);
    reboot().await;
    assert_eq!(host.phase(&vm).await, VmPhase::Rebooting);
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}
