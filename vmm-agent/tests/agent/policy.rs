//! What is done without asking a guest: names, scheduling, what follows an end, starting with the host.

use vmm_proto::v1::{
    Autostart, ConfigureVm, DestroyVm, EventAction, FaultCode, OnEvent, RenameVm, Request,
    Scheduling, VmPhase,
};
use xen_bindings::store::read_text;
use xen_bindings::{DomId, ShutdownReason, StorePath};

use crate::host::{Host, TestVm};

fn on_event(poweroff: EventAction, reboot: EventAction, crash: EventAction) -> OnEvent {
    OnEvent { poweroff, reboot, crash }
}

async fn ended(host: &Host, vm: &TestVm, reason: ShutdownReason) -> (VmPhase, bool) {
    let domid = host.domid(vm).await;
    host.backend.xen.control.shutdown(domid, reason).unwrap();
    host.sleep(20).await;
    let reported = host.reported(vm).await;
    (reported.phase, reported.domid == Some(domid.get()))
}

#[tokio::test(start_paused = true)]
async fn what_follows_an_end_is_what_the_vm_says() {
    use EventAction::{Destroy, Preserve, Restart};
    use ShutdownReason::{Crash, Poweroff, Reboot};
    for (actions, reason, expect) in [
        (on_event(Destroy, Restart, Destroy), Poweroff, (VmPhase::PoweredOff, false)),
        (on_event(Destroy, Restart, Destroy), Reboot, (VmPhase::Running, false)),
        (on_event(Destroy, Restart, Destroy), Crash, (VmPhase::Crashed, false)),
        (on_event(Restart, Destroy, Restart), Poweroff, (VmPhase::Running, false)),
        (on_event(Restart, Destroy, Restart), Reboot, (VmPhase::PoweredOff, false)),
        (on_event(Restart, Destroy, Restart), Crash, (VmPhase::Running, false)),
        (on_event(Preserve, Preserve, Preserve), Poweroff, (VmPhase::Preserved, true)),
        (on_event(Preserve, Preserve, Preserve), Crash, (VmPhase::Preserved, true)),
    ] {
        let host = Host::new().await;
        let mut vm = host.vm(1);
        vm.spec.on_event = Some(actions);
        host.build(&vm).await.unwrap();
        host.sleep(20).await;
        assert_eq!(ended(&host, &vm, reason).await, expect, "{actions:?} {reason:?}");
        if expect.0 == VmPhase::Preserved {
            let fault = host.set_vcpus(&vm, 2).await.unwrap_err();
            assert!(fault.message.contains("preserved"), "{fault}");
        }
        host.change(Request::DestroyVm(DestroyVm { vm: vm.id.clone() })).await.unwrap();
        host.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_asked_for_is_no_event() {
    let host = Host::new().await;
    let mut vm = host.vm(1);
    let restart = EventAction::Restart;
    vm.spec.on_event = Some(on_event(restart, restart, restart));
    host.build(&vm).await.unwrap();
    host.sleep(20).await;
    host.shutdown(&vm, 30).await.unwrap();
    assert_eq!(host.phase(&vm).await, VmPhase::PoweredOff);
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_name_and_a_share_change_while_the_vm_runs_and_survive_the_agent() {
    let mut host = Host::new().await;
    let vm = host.vm(1);
    host.build(&vm).await.unwrap();
    let domid = host.domid(&vm).await;
    let rename = |name: &str| Request::RenameVm(RenameVm { vm: vm.id.clone(), name: name.into() });
    host.change(rename("new-name")).await.unwrap();
    assert_eq!(host.change(rename("-bad")).await.unwrap_err().code, FaultCode::BadRequest);
    let scheduling = Scheduling {
        weight: 512,
        cap_percent: 50,
        affinity: "0-1".into(),
        affinity_soft: "1".into(),
    };
    let configure = |scheduling: Scheduling| {
        let scheduling = Some(scheduling);
        Request::ConfigureVm(ConfigureVm { vm: vm.id.clone(), scheduling, ..Default::default() })
    };
    host.change(configure(scheduling.clone())).await.unwrap();
    let nowhere = Scheduling { affinity: "99".into(), ..scheduling };
    assert!(host.change(configure(nowhere)).await.is_err(), "there is no such CPU");
    host.kill_agent().await;
    host.start_agent().await;
    let name = StorePath::domain(domid).join("name").unwrap();
    let name = read_text(host.backend.xen.store.as_ref(), &name).unwrap();
    assert_eq!(name.as_deref(), Some("new-name"));
    let credit2 = host.backend.xen.vcpu.credit2(domid).unwrap();
    assert_eq!((credit2.weight, credit2.cap_percent), (512, 50));
    for vcpu in 0..4 {
        let affinity = host.backend.xen.vcpu.affinity(domid, vcpu).unwrap();
        assert_eq!((affinity.hard, affinity.soft), (vec![0, 1], vec![1]));
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_host_has_booted_its_vms_start_in_their_order() {
    let mut host = Host::new().await;
    let mut vms: Vec<TestVm> = (2..6).map(|number| host.vm(number)).collect();
    for (vm, order) in vms.iter_mut().zip([3, 1, 2]) {
        vm.spec.autostart = Some(Autostart { enabled: true, order, delay_s: 60 });
    }
    for vm in &vms {
        host.build(vm).await.unwrap();
    }
    host.kill_agent().await;
    host.machine.power_loss();
    host.backend = vmm_agent::sim::backend(&host.machine);
    host.start_agent().await;
    host.sleep(1).await;
    assert_eq!(host.phase(&vms[3]).await, VmPhase::Lost, "it does not start by itself");
    for expect in [
        [VmPhase::Starting, VmPhase::Running, VmPhase::Starting],
        [VmPhase::Starting, VmPhase::Running, VmPhase::Running],
        [VmPhase::Running, VmPhase::Running, VmPhase::Running],
    ] {
        let mut phases = Vec::new();
        for vm in &vms[..3] {
            phases.push(host.phase(vm).await);
        }
        assert_eq!(phases, expect);
        host.sleep(60).await;
    }
    // One that starts again on a host that has not booted starts nothing.
    let domains = host.backend.xen.control.list().unwrap().len();
    host.destroy(&vms[0]).await.unwrap();
    host.kill_agent().await;
    host.start_agent().await;
    host.sleep(5).await;
    let now = host.backend.xen.control.list().unwrap();
    assert_eq!(now.len(), domains - 1, "{now:?}");
    assert!(now.iter().any(|domain| domain.domid == DomId::DOM0));
}

#[tokio::test(start_paused = true)]
async fn an_agent_killed_while_it_looks_for_vms_after_a_boot_leaves_them_to_the_next_one() {
    for step in 1.. {
        let mut host = Host::new().await;
        let vms = [2, 3].map(|number| {
            let mut vm = host.vm(number);
            vm.spec.autostart = Some(Autostart { enabled: true, order: 1, delay_s: 0 });
            vm
        });
        for vm in &vms {
            host.build(vm).await.unwrap();
        }
        host.kill_agent().await;
        host.machine.power_loss();
        host.backend = vmm_agent::sim::backend(&host.machine);
        host.machine.recorder().clear();
        let machine = host.machine.clone();
        let reached = async {
            while machine.recorder().calls().len() < step {
                tokio::task::yield_now().await;
            }
        };
        let started = tokio::select! {
            biased;
            () = reached => false,
            () = host.start_agent() => true,
        };
        host.kill_agent().await;
        host.start_agent().await;
        host.sleep(5).await;
        for vm in &vms {
            assert_eq!(host.phase(vm).await, VmPhase::Running, "step {step}");
        }
        if started {
            assert!(step > 5, "there is something to kill it at");
            return;
        }
    }
}
