//! An agent that ends and starts again: guests run on, and nothing half-built stays.

use vmm_agent::dom0::Backing;
use vmm_proto::server::Service as _;
use vmm_proto::v1::VmPhase;
use xen_bindings::{Credit2, DomId, DomainConfig, DomainHandle, GuestKind};

use crate::host::{Host, TestVm, manager};

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_adopts_its_guests_and_they_notice_nothing() {
    let mut host = Host::new().await;
    let mut vm = host.vm(1);
    vm.spec.cmdline = "workload=burn:1,disk:1".into();
    host.build(&vm).await.unwrap();
    host.sleep(3).await;
    let (domid, id) = (host.domid(&vm).await, host.report().await.host);
    let (before, generation) =
        (host.stats(&vm).await.unwrap(), host.reported(&vm).await.generation);
    host.kill_agent().await;
    host.sleep(10).await;
    host.start_agent().await;
    host.sleep(3).await;
    let after = host.stats(&vm).await.unwrap();
    assert_eq!((host.domid(&vm).await, host.report().await.host), (domid, id));
    assert!(host.reported(&vm).await.generation > generation);
    assert!(after.cpu_time_ns >= before.cpu_time_ns + 13_000_000_000, "it has run all the time");
    assert!(after.disks[0].written_bytes > before.disks[0].written_bytes);
    assert_eq!(host.set_vcpus(&vm, 2).await.unwrap().online, 2);
    host.shutdown(&vm, 30).await.unwrap();
    host.assert_clean();
}

/// Weights as guests have them leave dom0 waiting among them.
#[tokio::test(start_paused = true)]
async fn dom0_is_given_its_weight_once_and_what_somebody_set_stays() {
    let mut host = Host::new().await;
    let vcpu = host.backend.xen.vcpu.clone();
    let weight = || vcpu.credit2(DomId::DOM0).unwrap().weight;
    assert_eq!(weight(), 1024);
    for own in [512, 2000, 1024] {
        vcpu.set_credit2(DomId::DOM0, Credit2 { weight: own, cap_percent: 0 }).unwrap();
        host.kill_agent().await;
        host.start_agent().await;
        assert_eq!(weight(), own);
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_stopped_in_order_leaves_its_guests_running() {
    let mut host = Host::new().await;
    let vm = host.vm(1);
    host.build(&vm).await.unwrap();
    let domid = host.domid(&vm).await;
    host.agent().stop().await;
    host.kill_agent().await;
    host.start_agent().await;
    assert_eq!((host.phase(&vm).await, host.domid(&vm).await), (VmPhase::Running, domid));
}

#[tokio::test(start_paused = true)]
async fn what_happened_while_no_agent_ran_is_noticed() {
    let mut host = Host::new().await;
    let (mut crashed, mut gone, mut rebooted) = (host.vm(1), host.vm(2), host.vm(3));
    crashed.spec.cmdline = "crash=20".into();
    for vm in [&mut crashed, &mut gone, &mut rebooted] {
        host.build(vm).await.unwrap();
    }
    let (gone_domid, rebooted_domid) = (host.domid(&gone).await, host.domid(&rebooted).await);
    host.sleep(3).await;
    host.kill_agent().await;
    host.backend.xen.control.destroy(gone_domid).unwrap();
    let reboot = xen_bindings::ShutdownReason::Reboot;
    host.backend.xen.control.shutdown(rebooted_domid, reboot).unwrap();
    host.sleep(30).await;
    host.start_agent().await;
    host.sleep(10).await;
    assert_eq!(host.phase(&crashed).await, VmPhase::Crashed);
    assert_eq!(host.phase(&gone).await, VmPhase::Lost);
    assert_eq!(host.phase(&rebooted).await, VmPhase::Running);
    assert_ne!(host.domid(&rebooted).await, rebooted_domid);
    host.destroy(&rebooted).await.unwrap();
    host.assert_clean();
    let reported = host.report().await.vms;
    host.kill_agent().await;
    host.start_agent().await;
    let phases = |vms: Vec<vmm_proto::v1::ReportedVm>| {
        vms.into_iter().map(|vm| (vm.vm, vm.phase)).collect::<Vec<_>>()
    };
    assert_eq!(phases(host.report().await.vms), phases(reported), "the reasons are kept");
}

#[tokio::test(start_paused = true)]
async fn after_a_power_loss_all_vms_are_lost_and_can_be_built_again() {
    let mut host = Host::new().await;
    let vm = host.vm(1);
    host.build(&vm).await.unwrap();
    host.kill_agent().await;
    host.machine.power_loss();
    host.backend = vmm_agent::sim::backend(&host.machine);
    host.start_agent().await;
    assert_eq!(host.phase(&vm).await, VmPhase::Lost);
    host.build(&vm).await.unwrap();
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn domains_and_loop_devices_of_others_are_never_touched() {
    let mut host = Host::new().await;
    let mut vm = host.vm(1);
    // They read, too.
    vm.spec.disks[0].read_only = true;
    let disk = host.dir.path().join("disk.img");
    let Backing::File { id, .. } = host.backend.dom0.backing(&disk).unwrap() else { panic!() };
    let theirs = host.backend.dom0.attach_loop(&disk, id, true).unwrap();
    let handle = DomainHandle([9; 16]);
    let config = DomainConfig::new(handle, GuestKind::Pvh, 1);
    let foreign = host.backend.xen.control.create(&config).unwrap().domid();
    begin_and_kill(&mut host, &vm, 10, 0).await;
    host.start_agent().await;
    host.build(&vm).await.unwrap();
    host.destroy(&vm).await.unwrap();
    assert!(host.backend.xen.control.info(foreign).unwrap().is_some());
    let loops = host.backend.dom0.loops().unwrap();
    assert_eq!(loops.iter().map(|l| l.index).collect::<Vec<_>>(), [theirs]);
    // A domain with a VM's uuid that we did not make: the VM is refused, the domain stays.
    let same = host.vm(9);
    let fault = host.build(&same).await.unwrap_err();
    assert_eq!(fault.code, vmm_proto::v1::FaultCode::Conflict, "{fault}");
    assert!(host.backend.xen.control.info(foreign).unwrap().is_some());
}

/// Begins a build and kills the agent after so many turns of the scheduler and milliseconds. True when the build was over.
async fn begin_and_kill(host: &mut Host, vm: &TestVm, turns: u32, ms: u64) -> bool {
    let (agent, request) = (host.agent().clone(), Host::build_request(vm));
    let build = tokio::spawn(async move { agent.call(manager("b"), request).await });
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
    let over = build.is_finished();
    build.abort();
    let _ = build.await;
    host.kill_agent().await;
    over
}

async fn killed_at(turns: u32, ms: u64) -> bool {
    let mut host = Host::new().await;
    let vm = host.vm(1);
    let over = begin_and_kill(&mut host, &vm, turns, ms).await;
    host.start_agent().await;
    let known = host.report().await.vms;
    match known.first().map(|vm| vm.phase) {
        // Killed before it was written down, or taken back.
        None | Some(VmPhase::Failed) => {
            assert!(!over, "a build that was answered is kept");
            host.assert_clean();
            host.build(&vm).await.unwrap();
        }
        Some(VmPhase::Running) => {}
        other => panic!("{other:?}"),
    }
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
    over
}

#[tokio::test(start_paused = true)]
async fn an_agent_killed_at_any_moment_of_a_build_leaves_nothing_half_built() {
    // No time passes between turns, so the build gets as far as its first wait …
    for turns in 0..60 {
        killed_at(turns, 0).await;
    }
    // … and from there to its end by the clock.
    let mut over = false;
    for ms in 0..40 {
        over = killed_at(60, ms).await;
    }
    assert!(over, "the last ones were complete");
}

#[tokio::test(start_paused = true)]
async fn an_agent_killed_while_it_takes_a_vm_down_finishes_later() {
    for turns in 0..40 {
        let mut host = Host::new().await;
        let vm = host.vm(1);
        host.build(&vm).await.unwrap();
        let (agent, id) = (host.agent().clone(), vm.id.clone());
        let destroy = tokio::spawn(async move {
            let request = vmm_proto::v1::DestroyVm { vm: id };
            agent.call(manager("d"), vmm_proto::v1::Request::DestroyVm(request)).await
        });
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        destroy.abort();
        let _ = destroy.await;
        host.kill_agent().await;
        host.start_agent().await;
        if host.phase(&vm).await == VmPhase::Running {
            host.destroy(&vm).await.unwrap();
        }
        assert_eq!(host.phase(&vm).await, VmPhase::Destroyed, "after {turns} turns");
        host.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_killed_while_a_guest_reboots_brings_it_up_again() {
    for ms in (0..700).step_by(20) {
        let mut host = Host::new().await;
        let vm = host.vm(1);
        host.build(&vm).await.unwrap();
        host.sleep(3).await;
        let (agent, id) = (host.agent().clone(), vm.id.clone());
        let reboot = tokio::spawn(async move {
            let request = vmm_proto::v1::RebootVm { vm: id, wait_ms_max: 30_000 };
            agent.call(manager("r"), vmm_proto::v1::Request::RebootVm(request)).await
        });
        tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
        reboot.abort();
        let _ = reboot.await;
        host.kill_agent().await;
        host.start_agent().await;
        host.sleep(10).await;
        assert_eq!(host.phase(&vm).await, VmPhase::Running, "after {ms} ms");
        host.destroy(&vm).await.unwrap();
        host.assert_clean();
    }
}

/// One busy day; what the machine was asked, in order.
async fn day() -> Vec<xen_bindings::sim::Call> {
    let mut host = Host::new().await;
    let (first, second) = (host.vm(1), host.vm(2));
    let (a, b) = tokio::join!(host.build(&first), host.build(&second));
    a.and(b).unwrap();
    host.sleep(3).await;
    let (vcpus, memory) = tokio::join!(host.set_vcpus(&first, 3), host.set_memory(&second, 200));
    assert!(vcpus.is_ok() && memory.is_ok());
    host.kill_agent().await;
    host.start_agent().await;
    host.reboot(&first, 30).await.unwrap();
    host.shutdown(&second, 30).await.unwrap();
    host.destroy(&first).await.unwrap();
    host.machine.recorder().calls()
}

#[tokio::test(start_paused = true)]
async fn the_same_day_twice_is_the_same_day() {
    let first = day().await;
    assert_eq!(first.len(), day().await.len());
    assert!(first == day().await);
}
