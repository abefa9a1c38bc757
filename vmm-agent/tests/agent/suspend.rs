//! Suspend, resume, save and restore: by guests that do it, that do not, and through every failure.

use vmm_proto::v1::{self, FaultCode, Reply, Request, SavedFormat, VmPhase};
use xen_bindings::XenErrorKind;
use xen_bindings::sim::{Behaviour, Op};

use crate::host::{Host, TestVm};
use crate::memory::small_host;

fn suspend(vm: &TestVm) -> Request {
    Request::SuspendVm(v1::SuspendVm { vm: vm.id.clone(), wait_ms_max: 10_000 })
}

fn resume(vm: &TestVm) -> Request {
    Request::ResumeVm(v1::ResumeVm { vm: vm.id.clone() })
}

fn save(vm: &TestVm, path: &str) -> Request {
    save_as(vm, path, SavedFormat::Sealed)
}

fn save_as(vm: &TestVm, path: &str, format: SavedFormat) -> Request {
    let (vm, path) = (vm.id.clone(), path.to_owned());
    Request::SaveVm(v1::SaveVm { vm, path, format, wait_ms_max: 10_000 })
}

fn restore(vm: &TestVm, path: &str) -> Request {
    Request::BuildVm(v1::BuildVm {
        vm: vm.id.clone(),
        restore_from: Some(path.to_owned()),
        spec: vm.spec.clone(),
    })
}

async fn booted(host: &Host) -> TestVm {
    let mut vm = host.vm(1);
    vm.spec.nics = vec![Host::nic(0, "br0")];
    host.build(&vm).await.unwrap();
    host.sleep(20).await;
    vm
}

#[tokio::test(start_paused = true)]
async fn a_suspended_guest_goes_on_where_it_was() {
    let host = Host::new().await;
    let vm = booted(&host).await;
    let domid = host.domid(&vm).await;
    host.change(suspend(&vm)).await.unwrap();
    host.change(suspend(&vm)).await.unwrap();
    assert_eq!(host.phase(&vm).await, VmPhase::Suspended);
    let fault = host.set_memory(&vm, 100).await.unwrap_err();
    assert!(fault.message.contains("resume it first"), "{fault}");
    host.change(resume(&vm)).await.unwrap();
    host.change(resume(&vm)).await.unwrap();
    assert_eq!((host.phase(&vm).await, host.domid(&vm).await), (VmPhase::Running, domid));
    assert_eq!(host.set_vcpus(&vm, 2).await.unwrap().online, 2);
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_does_not_suspend_runs_on() {
    let host = Host::new().await;
    let vm = booted(&host).await;
    host.machine.set_guest_behaviour(host.domid(&vm).await, Behaviour::Deaf);
    for request in [suspend(&vm), save(&vm, &host.path("saved"))] {
        let fault = host.change(request).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::TimedOut, "{fault}");
        assert_eq!(host.phase(&vm).await, VmPhase::Running);
    }
    assert!(!std::fs::exists(host.path("saved")).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_saved_vm_is_off_the_host_and_goes_on_from_its_file() {
    let host = Host::new().await;
    let vm = booted(&host).await;
    host.set_memory(&vm, 300).await.unwrap();
    host.set_vcpus(&vm, 3).await.unwrap();
    let uptime = host.machine.guest(host.domid(&vm).await).unwrap().uptime;
    let file = host.path("saved");
    host.change(save(&vm, &file)).await.unwrap();
    assert_eq!(host.phase(&vm).await, VmPhase::Saved);
    host.assert_clean();
    host.change(restore(&vm, &file)).await.unwrap();
    host.sleep(10).await;
    let guest = host.machine.guest(host.domid(&vm).await).unwrap();
    assert!(guest.uptime >= uptime, "it has not booted again");
    assert_eq!((guest.cpus_online, guest.vbds_connected, guest.vifs_connected), (3, 1, 1));
    let reported = host.reported(&vm).await;
    assert!(reported.memory_kib >= 299 << 10, "{reported:?}");
    assert!(!std::fs::exists(&file).unwrap(), "what it holds is old");
    assert_eq!(host.set_memory(&vm, 200).await.unwrap().note, "");
    host.shutdown(&vm, 30).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_restore_needs_the_memory_that_the_guest_had_grown_to() {
    let host = small_host().await;
    let (vm, other) = (booted(&host).await, host.vm(2));
    host.set_memory(&vm, 300).await.unwrap();
    let file = host.path("saved");
    host.change(save(&vm, &file)).await.unwrap();
    host.build(&other).await.unwrap();
    // 128 MiB would fit.
    let fault = host.change(restore(&vm, &file)).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::OutOfMemory, "{fault}");
    assert_eq!(host.phase(&vm).await, VmPhase::Saved);
    host.destroy(&other).await.unwrap();
    host.change(restore(&vm, &file)).await.unwrap();
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_not_whole_is_refused_and_the_vm_stays_saved() {
    let host = Host::new().await;
    let vm = booted(&host).await;
    let file = host.path("saved");
    host.change(save(&vm, &file)).await.unwrap();
    let whole = std::fs::read(&file).unwrap();
    let (mut flipped, cut) = (whole.clone(), whole[..whole.len() / 2].to_vec());
    let last = flipped.len() - 20;
    flipped[last] ^= 1;
    for bad in [flipped, cut, b"nonsense".to_vec(), Vec::new()] {
        std::fs::write(&file, &bad).unwrap();
        let fault = host.change(restore(&vm, &file)).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::BadImage, "{fault}");
        assert_eq!(host.phase(&vm).await, VmPhase::Saved, "{fault}");
        host.assert_clean();
    }
    let fault = host.change(restore(&vm, &host.path("none"))).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::FileNotFound, "{fault}");
    std::fs::write(&file, &whole).unwrap();
    host.change(restore(&vm, &file)).await.unwrap();
    assert_eq!(host.phase(&vm).await, VmPhase::Running);
}

#[tokio::test(start_paused = true)]
async fn a_file_of_xls_is_taken_when_it_is_whole_and_of_this_very_guest() {
    let host = Host::new().await;
    let vm = booted(&host).await;
    host.set_memory(&vm, 300).await.unwrap();
    let uptime = host.machine.guest(host.domid(&vm).await).unwrap().uptime;
    let file = host.path("saved.xl");
    host.change(save_as(&vm, &file, SavedFormat::Xl)).await.unwrap();
    host.assert_clean();
    let whole = std::fs::read(&file).unwrap();
    let cut = whole[..whole.len() - 1].to_vec();
    let more = [&whole[..], b"x"].concat();
    // The same length, so that only what it says is wrong.
    let replaced = |from: &str, to: &str| {
        let at = whole.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        let mut other = whole.clone();
        other[at..at + from.len()].copy_from_slice(to.as_bytes());
        other
    };
    let other_vm = replaced(&vm.id[..8], "deadbeef");
    let (other_kind, other_disk) = (replaced("pvh", "hvm"), replaced("xvda", "xvdb"));
    for (bad, why) in [
        (cut, "cut off"),
        (more, "behind its end"),
        (other_vm, "holds VM deadbeef"),
        (other_kind, "\"hvm\""),
        (other_disk, "other disks"),
    ] {
        std::fs::write(&file, &bad).unwrap();
        let fault = host.change(restore(&vm, &file)).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::BadImage, "{fault}");
        assert!(fault.message.contains(why), "{fault}");
        assert_eq!(host.phase(&vm).await, VmPhase::Saved, "{fault}");
        host.assert_clean();
    }
    std::fs::write(&file, &whole).unwrap();
    host.change(restore(&vm, &file)).await.unwrap();
    host.sleep(10).await;
    let guest = host.machine.guest(host.domid(&vm).await).unwrap();
    assert!(guest.uptime >= uptime, "it has not booted again");
    assert!(host.reported(&vm).await.memory_kib >= 299 << 10);
    assert!(!std::fs::exists(&file).unwrap(), "what it holds is old");
}

#[tokio::test(start_paused = true)]
async fn a_save_overwrites_nothing() {
    let host = Host::new().await;
    let vm = booted(&host).await;
    std::fs::write(host.path("taken"), b"mine").unwrap();
    let fault = host.change(save(&vm, &host.path("taken"))).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::Conflict, "{fault}");
    assert_eq!(std::fs::read(host.path("taken")).unwrap(), b"mine");
    assert_eq!(host.phase(&vm).await, VmPhase::Running);
}

#[tokio::test(start_paused = true)]
async fn a_save_that_fails_at_any_step_leaves_the_guest_running_or_saved() {
    for step in 1.. {
        let host = Host::new().await;
        let vm = booted(&host).await;
        host.machine.recorder().clear();
        host.machine.faults().fail_step(step);
        let outcome = host.change(save(&vm, &host.path("saved"))).await;
        let calls = host.machine.recorder().calls().len();
        host.machine.faults().clear();
        let there = std::fs::exists(host.path("saved")).unwrap();
        match host.phase(&vm).await {
            VmPhase::Saved => {
                assert!(there && outcome.is_ok(), "step {step}: {outcome:?}");
                host.change(restore(&vm, &host.path("saved"))).await.unwrap();
            }
            phase => assert_eq!((phase, there), (VmPhase::Running, false), "step {step}"),
        }
        host.destroy(&vm).await.unwrap();
        host.assert_clean();
        if u64::try_from(calls).unwrap() < step {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_fails_at_any_step_leaves_the_vm_saved() {
    for step in (1..).step_by(2) {
        let host = Host::new().await;
        let vm = booted(&host).await;
        let file = host.path("saved");
        host.change(save(&vm, &file)).await.unwrap();
        host.machine.recorder().clear();
        host.machine.faults().fail_step(step);
        let outcome = host.change(restore(&vm, &file)).await;
        let calls = host.machine.recorder().calls().len();
        host.machine.faults().clear();
        if outcome.is_err() {
            let phase = host.phase(&vm).await;
            assert_eq!(phase, VmPhase::Saved, "step {step}: {outcome:?}");
            host.sleep(5).await;
            host.assert_clean();
            host.change(restore(&vm, &file)).await.unwrap();
        }
        host.destroy(&vm).await.unwrap();
        host.assert_clean();
        if u64::try_from(calls).unwrap() < step {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_killed_while_it_saves_leaves_the_guest_to_the_next_one() {
    for step in (1..).step_by(3) {
        let mut host = Host::new().await;
        let vm = booted(&host).await;
        host.machine.recorder().clear();
        let done = {
            let change = host.change(save(&vm, &host.path("saved")));
            let reached = host.reached(step);
            tokio::select! {
                biased;
                () = reached => false,
                outcome = change => outcome == Ok(Reply::Done(v1::Done {})),
            }
        };
        host.kill_agent().await;
        host.start_agent().await;
        host.sleep(5).await;
        let there = std::fs::exists(host.path("saved")).unwrap();
        match host.phase(&vm).await {
            VmPhase::Saved => assert!(there, "step {step}"),
            phase => assert_eq!((phase, there), (VmPhase::Running, false), "step {step}"),
        }
        if done {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_killed_while_it_restores_never_leaves_a_file_of_a_guest_that_may_have_run() {
    for step in (1..).step_by(2) {
        let mut host = Host::new().await;
        let vm = booted(&host).await;
        let file = host.path("saved");
        host.change(save(&vm, &file)).await.unwrap();
        host.machine.recorder().clear();
        let done = {
            let change = host.change(restore(&vm, &file));
            let reached = host.reached(step);
            tokio::select! {
                biased;
                () = reached => false,
                outcome = change => outcome == Ok(Reply::Done(v1::Done {})),
            }
        };
        host.kill_agent().await;
        host.start_agent().await;
        host.sleep(5).await;
        let there = std::fs::exists(&file).unwrap();
        match host.phase(&vm).await {
            VmPhase::Saved => {
                assert!(there, "step {step}");
                host.assert_clean();
            }
            phase => {
                assert!(
                    matches!(phase, VmPhase::Running | VmPhase::Paused),
                    "step {step}: {phase:?}"
                );
                assert!(!there, "step {step}: {phase:?}");
            }
        }
        if done {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_a_vm_may_have_gone_on_from_does_not_outlive_it() {
    for autostart in [false, true] {
        for step in (1..).step_by(2) {
            let mut host = Host::new().await;
            let mut vm = booted(&host).await;
            vm.spec.autostart = Some(v1::Autostart { enabled: autostart, order: 1, delay_s: 0 });
            let file = host.path("saved");
            host.change(save(&vm, &file)).await.unwrap();
            host.machine.recorder().clear();
            let done = {
                let change = host.change(restore(&vm, &file));
                let reached = host.reached(step);
                tokio::select! { biased; () = reached => false, outcome = change => outcome.is_ok() }
            };
            host.kill_agent().await;
            host.machine.power_loss();
            host.backend = vmm_agent::sim::backend(&host.machine);
            host.start_agent().await;
            host.sleep(5).await;
            let there = std::fs::exists(&file).unwrap();
            match host.phase(&vm).await {
                VmPhase::Saved => assert!(there, "step {step}"),
                VmPhase::Running => assert!(autostart && !there, "step {step}"),
                phase => assert_eq!((phase, there), (VmPhase::Lost, false), "step {step}"),
            }
            if done {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restored_vm_that_did_not_run_keeps_its_file_though_the_agent_dies_while_it_is_taken_back()
 {
    let mut host = Host::new().await;
    let vm = booted(&host).await;
    let file = host.path("saved");
    host.change(save(&vm, &file)).await.unwrap();
    let faults = host.machine.faults();
    faults.fail_next(Op::DomainUnpause, XenErrorKind::Other(5));
    faults.fail_always(Op::DomainDestroy, XenErrorKind::Other(5));
    {
        let change = host.change(restore(&vm, &file));
        let undone = async {
            while host.machine.recorder().count(Op::DomainDestroy) < 2 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::select! { biased; () = undone => {}, outcome = change => panic!("{outcome:?}") }
    }
    host.kill_agent().await;
    host.machine.faults().clear();
    host.start_agent().await;
    host.sleep(5).await;
    assert_eq!(host.phase(&vm).await, VmPhase::Saved);
    host.assert_clean();
    host.change(restore(&vm, &file)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_saved_vm_goes_on_only_with_the_disks_that_it_had() {
    let host = Host::new().await;
    let vm = booted(&host).await;
    let file = host.path("saved");
    host.change(save(&vm, &file)).await.unwrap();
    let (mut other, mut fewer) = (vm.clone(), vm.clone());
    other.spec.disks = vec![v1::Disk { device: "xvda".into(), ..host.disk("xvdb") }];
    fewer.spec.disks.clear();
    for wrong in [other, fewer] {
        let fault = host.change(restore(&wrong, &file)).await.unwrap_err();
        assert!(fault.message.contains("with other disks"), "{fault}");
        assert_eq!(host.phase(&vm).await, VmPhase::Saved);
    }
    host.change(restore(&vm, &file)).await.unwrap();
    assert!(!std::fs::exists(&file).unwrap());
}
