//! The host fails: at each step, and in the ways that have a name.

use vmm_proto::v1::{FaultCode, VmPhase};
use xen_bindings::XenErrorKind;
use xen_bindings::contract::StoreFlavour;
use xen_bindings::sim::{Op, SimConfig};

use crate::host::Host;

#[tokio::test(start_paused = true)]
async fn a_build_that_fails_at_any_step_leaves_nothing() {
    for store in StoreFlavour::ALL {
        let host = || Host::with(SimConfig { store, ..SimConfig::default() });
        let first = host().await;
        first.machine.recorder().clear();
        first.build(&first.vm(1)).await.unwrap();
        let steps = first.machine.recorder().calls().len();
        assert!(steps > 60, "{steps}");
        for step in 1..=u64::try_from(steps).unwrap() {
            let host = host().await;
            let vm = host.vm(1);
            host.machine.faults().fail_step(step);
            let outcome = host.build(&vm).await;
            host.machine.faults().clear();
            match outcome {
                Err(fault) => assert_eq!(fault.hop, "agent h1", "{store:?}, step {step}: {fault}"),
                Ok(_) => {
                    host.destroy(&vm).await.unwrap();
                }
            }
            host.sleep(5).await;
            host.assert_clean();
            host.build(&vm).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_destroy_survives_a_failure_of_any_step() {
    for (store, step) in StoreFlavour::ALL.into_iter().flat_map(|s| (1..40).map(move |n| (s, n))) {
        let host = Host::with(SimConfig { store, ..SimConfig::default() }).await;
        let vm = host.vm(1);
        host.build(&vm).await.unwrap();
        host.machine.faults().fail_step(step);
        host.destroy(&vm).await.unwrap();
        host.machine.faults().clear();
        assert_eq!(host.phase(&vm).await, VmPhase::Destroyed, "{store:?}, step {step}");
        host.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_back_is_named_and_goes_with_the_next_destroy() {
    let host = Host::new().await;
    let vm = host.vm(1);
    host.build(&vm).await.unwrap();
    host.machine.faults().fail_always(Op::DomainDestroy, XenErrorKind::Other(5));
    assert_eq!(host.destroy(&vm).await.unwrap_err().code, FaultCode::HostFailed);
    let reported = host.reported(&vm).await;
    assert!(reported.reason.contains("left over on the host: destroy-domain"), "{reported:?}");
    assert_eq!(host.backend.dom0.loops().unwrap().len(), 1, "the guest may still write");
    assert_eq!(host.build(&vm).await.unwrap_err().code, FaultCode::Conflict);
    host.machine.faults().clear();
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_missing_kernel_or_disk_is_a_missing_file() {
    let host = Host::new().await;
    let (mut no_kernel, mut no_disk, mut no_image) = (host.vm(1), host.vm(1), host.vm(2));
    no_kernel.spec.kernel = host.path("none");
    no_disk.spec.disks[0].path = host.path("none.img");
    no_image.spec.kernel = host.path("disk.img");
    for (vm, code) in [
        (no_kernel, FaultCode::FileNotFound),
        (no_disk, FaultCode::FileNotFound),
        (no_image, FaultCode::BadImage),
    ] {
        let fault = host.build(&vm).await.unwrap_err();
        assert_eq!(fault.code, code, "{fault}");
        assert_eq!(host.phase(&vm).await, VmPhase::Failed);
        host.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn more_memory_than_the_host_has_is_refused_before_anything_is_done() {
    let host = Host::with(SimConfig {
        memory_total_kib: 1 << 20,
        dom0_memory_kib: 512 << 10,
        ..SimConfig::default()
    })
    .await;
    let mut vm = host.vm(1);
    (vm.spec.memory_kib, vm.spec.memory_max_kib) = (600 << 10, 600 << 10);
    let fault = host.build(&vm).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::OutOfMemory, "{fault}");
    assert!(host.report().await.vms.is_empty());

    let vm = host.vm(1);
    host.build(&vm).await.unwrap();
    host.machine.recorder().clear();
    let fault = host.set_memory(&vm, 600).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::OutOfMemory, "{fault}");
    assert_eq!(host.machine.recorder().count(Op::MemorySetMax), 0);
    assert_eq!(host.set_memory(&vm, 16).await.unwrap_err().code, FaultCode::BadRequest);
}

#[tokio::test(start_paused = true)]
async fn builds_at_once_do_not_count_on_the_same_memory() {
    let host = Host::with(SimConfig {
        memory_total_kib: 1 << 20,
        dom0_memory_kib: 512 << 10,
        ..SimConfig::default()
    })
    .await;
    let vms: Vec<_> = (2..8)
        .map(|number| {
            let mut vm = host.vm(number);
            (vm.spec.memory_kib, vm.spec.memory_max_kib) = (128 << 10, 128 << 10);
            vm
        })
        .collect();
    let builds = vms.iter().map(|vm| host.build(vm));
    let outcomes = futures_util::future::join_all(builds).await;
    let built = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(built, 3, "{outcomes:?}");
    for fault in outcomes.into_iter().filter_map(Result::err) {
        assert_eq!(fault.code, FaultCode::OutOfMemory, "{fault}");
    }
}
