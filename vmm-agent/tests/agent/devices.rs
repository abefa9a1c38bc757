//! Disks and NICs of a running guest: attached, detached, resized; by guests that do not play along, and through every failure.

use vmm_proto::v1::{self, FaultCode, Reply, Request, ResizeDisk, VmPhase};
use xen_bindings::sim::{Behaviour, Call, Op};

use crate::host::{Host, TestVm};

async fn booted(host: &Host) -> TestVm {
    let vm = host.vm(2);
    host.build(&vm).await.unwrap();
    host.sleep(20).await;
    vm
}

#[tokio::test(start_paused = true)]
async fn a_disk_comes_grows_and_goes_and_the_guest_sees_it() {
    let host = Host::new().await;
    let vm = booted(&host).await;
    let domid = host.domid(&vm).await;
    let disk = host.disk("xvdb");
    host.change(Host::attach_disk_request(&vm, disk.clone())).await.unwrap();
    let sizes = || host.machine.guest(domid).unwrap().disk_bytes;
    assert_eq!(sizes(), [(51728, 8192)].into());
    let resize = ResizeDisk {
        vm: vm.id.clone(),
        device: "xvdb".into(),
        size_bytes: 1 << 20,
        wait_ms_max: 10_000,
    };
    host.change(Request::ResizeDisk(resize.clone())).await.unwrap();
    host.sleep(1).await;
    assert_eq!(sizes(), [(51728, 1 << 20)].into());
    assert_eq!(std::fs::metadata(&disk.path).unwrap().len(), 1 << 20);
    let smaller = Request::ResizeDisk(ResizeDisk { size_bytes: 4096, ..resize });
    assert_eq!(host.change(smaller).await.unwrap_err().code, FaultCode::BadRequest);
    host.change(Host::attach_disk_request(&vm, disk.clone())).await.unwrap();
    let other = v1::Disk { read_only: true, ..disk };
    let again = host.change(Host::attach_disk_request(&vm, other)).await;
    assert_eq!(again.unwrap_err().code, FaultCode::Conflict);
    host.change(Host::detach_disk_request(&vm, "xvdb", false)).await.unwrap();
    assert_eq!(sizes(), [].into());
    host.change(Host::detach_disk_request(&vm, "xvdb", false)).await.unwrap();
    assert_eq!(host.backend.dom0.loops().unwrap(), []);
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_nic_is_on_its_bridge_while_the_vm_has_it() {
    let host = Host::new().await;
    let mut vm = host.vm(2);
    vm.spec.nics = vec![Host::nic(0, "br0")];
    vm.spec.cmdline = "workload=net:1".into();
    host.build(&vm).await.unwrap();
    host.sleep(20).await;
    let ports = || {
        let ports = host.backend.dom0.ports().unwrap();
        ports.into_iter().map(|port| port.interface).collect::<Vec<_>>()
    };
    let domid = host.domid(&vm).await;
    assert_eq!(ports(), [format!("vif{domid}.0")]);
    host.change(Host::attach_nic_request(&vm, Host::nic(1, "br0"))).await.unwrap();
    assert_eq!(host.machine.guest(domid).unwrap().vifs_connected, 2);
    let stats = host.stats(&vm).await.unwrap();
    assert_eq!(stats.nics.len(), 2);
    assert!(stats.nics[0].sent_bytes > 0, "{stats:?}");
    let nowhere = host.change(Host::attach_nic_request(&vm, Host::nic(2, "br9"))).await;
    assert!(nowhere.unwrap_err().message.contains("br9"));
    host.change(Host::detach_nic_request(&vm, 0)).await.unwrap();
    assert_eq!(ports(), [format!("vif{domid}.1")]);
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_deaf_guest_gets_no_device_and_keeps_those_that_it_has() {
    let host = Host::new().await;
    let vm = booted(&host).await;
    let (old, new) = (host.disk("xvdb"), host.disk("xvdc"));
    host.change(Host::attach_disk_request(&vm, old)).await.unwrap();
    host.machine.set_guest_behaviour(host.domid(&vm).await, Behaviour::Deaf);
    host.machine.recorder().clear();
    let fault = host.change(Host::attach_disk_request(&vm, new)).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::TimedOut, "{fault}");
    let calls = host.machine.recorder().calls();
    let announced = |call: &&Call| {
        let path = call.path.as_deref().unwrap_or_default();
        call.op == Op::StoreWrite && path.ends_with("device/vbd/51744/state")
    };
    // When it is described, and then every two seconds of ten.
    assert_eq!(calls.iter().filter(announced).count(), 5, "a guest may have missed the word");
    assert!(fault.message.contains("did not connect to disk xvdc within 10"), "{fault}");
    assert_eq!(host.backend.dom0.loops().unwrap().len(), 1, "only the old one");
    let fault = host.change(Host::detach_disk_request(&vm, "xvdb", false)).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::TimedOut, "{fault}");
    assert_eq!(host.backend.dom0.loops().unwrap().len(), 1, "it keeps it");
    assert_eq!(host.stats(&vm).await.unwrap().disks.len(), 1);
    host.change(Host::detach_disk_request(&vm, "xvdb", true)).await.unwrap();
    assert_eq!(host.backend.dom0.loops().unwrap(), []);
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_crashes_on_a_plug_is_crashed_and_nothing_is_left() {
    let host = Host::new().await;
    let vm = booted(&host).await;
    host.machine.set_guest_behaviour(host.domid(&vm).await, Behaviour::CrashOnPlug);
    let outcome = host.change(Host::attach_disk_request(&vm, host.disk("xvdb"))).await;
    assert_eq!(outcome.unwrap_err().code, FaultCode::BadState);
    host.sleep(1).await;
    assert_eq!(host.phase(&vm).await, VmPhase::Crashed);
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_destroy_does_not_wait_for_a_plug() {
    let host = Host::new().await;
    let vm = booted(&host).await;
    host.machine.set_guest_behaviour(host.domid(&vm).await, Behaviour::Deaf);
    let plug = host.change(Host::attach_disk_request(&vm, host.disk("xvdb")));
    let destroy = async {
        host.sleep(1).await;
        host.destroy(&vm).await
    };
    let (plugged, destroyed) = futures_util::future::join(plug, destroy).await;
    assert_eq!(plugged.unwrap_err().code, FaultCode::Cancelled);
    assert_eq!(destroyed.unwrap(), Reply::Done(Default::default()));
    host.assert_clean();
}

/// Fails each call of the machine in turn while `request` is carried out; afterwards the VM runs, has what it had or what was
/// asked for, and the request can be made again.
async fn fail_each_step(
    prepare: Option<fn(&TestVm, &Host) -> Request>,
    request: fn(&TestVm, &Host) -> Request,
) {
    for step in 1.. {
        let host = Host::new().await;
        let vm = booted(&host).await;
        if let Some(prepare) = prepare {
            host.change(prepare(&vm, &host)).await.unwrap();
        }
        host.machine.recorder().clear();
        host.machine.faults().fail_step(step);
        let outcome = host.change(request(&vm, &host)).await;
        let calls = host.machine.recorder().calls().len();
        host.machine.faults().clear();
        assert_eq!(host.phase(&vm).await, VmPhase::Running, "step {step}: {outcome:?}");
        host.change(request(&vm, &host))
            .await
            .or_else(|fault| {
                // It was done although it was told as failed, or the other way round.
                if fault.code == FaultCode::Conflict {
                    Ok(Reply::Done(Default::default()))
                } else {
                    Err(fault)
                }
            })
            .unwrap();
        host.destroy(&vm).await.unwrap();
        host.assert_clean();
        if u64::try_from(calls).unwrap() < step {
            assert!(step > 10, "it has steps");
            return;
        }
    }
}

fn attach_disk(vm: &TestVm, host: &Host) -> Request {
    Host::attach_disk_request(vm, host.disk("xvdb"))
}

fn detach_disk(vm: &TestVm, _: &Host) -> Request {
    Host::detach_disk_request(vm, "xvdb", false)
}

fn attach_nic(vm: &TestVm, _: &Host) -> Request {
    Host::attach_nic_request(vm, Host::nic(0, "br0"))
}

fn detach_nic(vm: &TestVm, _: &Host) -> Request {
    Host::detach_nic_request(vm, 0)
}

#[tokio::test(start_paused = true)]
async fn an_attached_disk_is_taken_back_from_any_step() {
    fail_each_step(None, attach_disk).await;
}

#[tokio::test(start_paused = true)]
async fn a_detached_disk_is_gone_or_there_after_any_failure() {
    fail_each_step(Some(attach_disk), detach_disk).await;
}

#[tokio::test(start_paused = true)]
async fn an_attached_nic_is_taken_back_from_any_step() {
    fail_each_step(None, attach_nic).await;
}

#[tokio::test(start_paused = true)]
async fn a_detached_nic_is_gone_or_there_after_any_failure() {
    fail_each_step(Some(attach_nic), detach_nic).await;
}

/// Kills the agent after each call of the machine in turn; the next agent settles what was half-way.
async fn kill_at_each_step(
    prepare: Option<fn(&TestVm, &Host) -> Request>,
    request: fn(&TestVm, &Host) -> Request,
) {
    for step in 1.. {
        let mut host = Host::new().await;
        let vm = booted(&host).await;
        if let Some(prepare) = prepare {
            host.change(prepare(&vm, &host)).await.unwrap();
        }
        host.machine.recorder().clear();
        let done = {
            let change = host.change(request(&vm, &host));
            let reached = host.reached(step);
            tokio::select! { biased; () = reached => false, outcome = change => { outcome.unwrap(); true } }
        };
        host.kill_agent().await;
        host.start_agent().await;
        host.sleep(5).await;
        assert_eq!(host.phase(&vm).await, VmPhase::Running, "step {step}");
        let disks = host.stats(&vm).await.unwrap().disks.len();
        assert_eq!(host.backend.dom0.loops().unwrap().len(), disks, "step {step}");
        host.change(request(&vm, &host))
            .await
            .or_else(|fault| {
                if fault.code == FaultCode::Conflict {
                    Ok(Reply::Done(Default::default()))
                } else {
                    Err(fault)
                }
            })
            .unwrap();
        host.destroy(&vm).await.unwrap();
        host.assert_clean();
        if done {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_killed_while_it_attaches_leaves_it_to_the_next_one() {
    kill_at_each_step(None, attach_disk).await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_killed_while_it_detaches_leaves_it_to_the_next_one() {
    kill_at_each_step(Some(attach_disk), detach_disk).await;
}
