//! A VM's life.

use vmm_proto::v1::{FaultCode, PauseVm, Reply, Request, UnpauseVm, VmPhase};
use xen_bindings::{DomainConfig, DomainHandle, GuestKind};

use crate::host::Host;

#[tokio::test(start_paused = true)]
async fn a_vm_lives_from_build_to_shutdown() {
    let host = Host::new().await;
    let mut vm = host.vm(1);
    vm.spec.cmdline = "console=hvc0 workload=burn:1,disk:3".into();
    host.build(&vm).await.unwrap();
    host.sleep(5).await;
    let text = host.console(&vm).await;
    assert!(text.contains("Linux version") && text.contains("VMM-GUEST"), "{text}");

    let vcpus = host.set_vcpus(&vm, 2).await.unwrap();
    assert_eq!((vcpus.online, vcpus.note.as_str()), (2, ""));
    for mib in [96, 128, 256, 400] {
        let memory = host.set_memory(&vm, mib).await.unwrap();
        assert_eq!(memory.note, "", "{memory:?}");
        assert!(memory.reached_kib.abs_diff(mib << 10) <= (mib << 10) / 50, "{memory:?}");
    }
    let stats = host.stats(&vm).await.unwrap();
    assert!(stats.cpu_milli.unwrap() >= 900, "{stats:?}");
    assert!(stats.disk_bytes_per_s.unwrap() > 5 << 20, "{stats:?}");
    assert_eq!(stats.vcpus.iter().filter(|vcpu| vcpu.online).count(), 2);
    assert_eq!(stats.disks[0].device, "xvda");

    let report = host.report().await;
    assert_eq!(report.facts.backend, "simulator");
    assert!(report.load.cpu_milli >= 900, "{:?}", report.load);
    host.shutdown(&vm, 30).await.unwrap();
    assert_eq!(host.phase(&vm).await, VmPhase::PoweredOff);
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn the_memory_for_vms_is_the_same_with_and_without_vms() {
    let host = Host::new().await;
    let before = host.report().await.facts.memory_kib;
    let vm = host.vm(1);
    host.build(&vm).await.unwrap();
    let during = host.report().await.facts.memory_kib;
    assert!(during.abs_diff(before) < 8 << 10, "{before} {during}");
    host.destroy(&vm).await.unwrap();
    assert_eq!(host.report().await.facts.memory_kib, before);
}

#[tokio::test(start_paused = true)]
async fn a_reboot_keeps_the_vm_and_takes_a_new_domain() {
    let host = Host::new().await;
    let vm = host.vm(1);
    host.build(&vm).await.unwrap();
    host.sleep(3).await;
    let before = host.domid(&vm).await;
    host.reboot(&vm, 30).await.unwrap();
    assert_eq!(host.phase(&vm).await, VmPhase::Running);
    assert_ne!(host.domid(&vm).await, before);
    host.sleep(3).await;
    assert!(host.machine.guest(host.domid(&vm).await).unwrap().booted);
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_paused_guest_does_nothing_until_it_is_unpaused() {
    let host = Host::new().await;
    let mut vm = host.vm(2);
    vm.spec.cmdline = "workload=burn:1".into();
    host.build(&vm).await.unwrap();
    host.sleep(3).await;
    let pause = || Request::PauseVm(PauseVm { vm: vm.id.clone() });
    host.change(pause()).await.unwrap();
    host.change(pause()).await.unwrap();
    let before = host.stats(&vm).await.unwrap().cpu_time_ns;
    host.sleep(5).await;
    assert_eq!(host.stats(&vm).await.unwrap().cpu_time_ns, before);
    assert_eq!(host.shutdown(&vm, 5).await.unwrap_err().code, FaultCode::BadState);
    host.change(Request::UnpauseVm(UnpauseVm { vm: vm.id.clone() })).await.unwrap();
    host.sleep(5).await;
    assert!(host.stats(&vm).await.unwrap().cpu_time_ns > before);
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_noticed_and_cleaned_up() {
    let host = Host::new().await;
    let mut vm = host.vm(1);
    vm.spec.cmdline = "crash=7".into();
    host.build(&vm).await.unwrap();
    let mut cursor = host.report().await.cursor;
    for _ in 0..3 {
        let report = host.await_report(&cursor, 20_000).await;
        if report.vms[0].phase == VmPhase::Crashed {
            assert!(report.vms[0].reason.contains("crashed"), "{:?}", report.vms[0]);
            host.assert_clean();
            assert!(host.console(&vm).await.contains("VMM-GUEST-CRASH"));
            return;
        }
        cursor = report.cursor;
    }
    panic!("nobody noticed");
}

#[tokio::test(start_paused = true)]
async fn a_domain_that_somebody_else_destroys_is_lost_and_cleaned_up() {
    let host = Host::new().await;
    let vm = host.vm(1);
    host.build(&vm).await.unwrap();
    host.backend.xen.control.destroy(host.domid(&vm).await).unwrap();
    host.sleep(10).await;
    assert_eq!(host.phase(&vm).await, VmPhase::Lost);
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_another_tool_runs_is_not_run_a_second_time() {
    let host = Host::new().await;
    let vm = host.vm(1);
    let config = DomainConfig::new(DomainHandle([1; 16]), GuestKind::Pvh, 1);
    let twin = host.backend.xen.control.create(&config).unwrap().domid();
    let fault = host.build(&vm).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::Conflict, "{fault}");
    assert!(fault.message.contains("uuid"), "{fault}");
    assert!(host.backend.xen.control.info(twin).unwrap().is_some(), "it is not ours");
    host.backend.xen.control.destroy(twin).unwrap();
    host.sleep(1).await;
    host.build(&vm).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stopped_vm_can_be_built_again_and_be_forgotten() {
    let host = Host::new().await;
    let vm = host.vm(1);
    host.build(&vm).await.unwrap();
    let first = host.reported(&vm).await.generation;
    host.destroy(&vm).await.unwrap();
    host.build(&vm).await.unwrap();
    assert!(host.reported(&vm).await.generation > first);
    host.destroy(&vm).await.unwrap();
    assert_eq!(host.phase(&vm).await, VmPhase::Destroyed);
    host.destroy(&vm).await.unwrap();
    assert!(host.report().await.vms.is_empty());
    assert_eq!(host.destroy(&vm).await.unwrap_err().code, FaultCode::UnknownVm);
}

#[tokio::test(start_paused = true)]
async fn a_build_can_be_destroyed_while_it_runs() {
    let host = Host::new().await;
    let vm = host.vm(1);
    let (agent, request) = (host.agent().clone(), Host::build_request(&vm));
    let build = tokio::spawn(async move {
        use vmm_proto::server::Service as _;
        agent.call(crate::host::manager("b"), request).await
    });
    for _ in 0..12 {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.phase(&vm).await, VmPhase::Starting);
    host.destroy(&vm).await.unwrap();
    assert_eq!(build.await.unwrap().unwrap_err().code, FaultCode::Cancelled);
    assert_eq!(host.phase(&vm).await, VmPhase::Destroyed);
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_host_tells_its_statistics() {
    let host = Host::new().await;
    host.sleep(5).await;
    let request = vmm_proto::v1::GetHostStats { host: String::new() };
    let Reply::HostStats(stats) = host.change(Request::GetHostStats(request)).await.unwrap() else {
        panic!("another reply");
    };
    assert_eq!(stats.pcpus.len(), 4);
    assert!(stats.cpu_milli.is_some() && stats.memory_total_kib == 8 << 20, "{stats:?}");
}
