//! Saved VMs: where they go on, what they are refused, and what a restore that fails leaves.

use tokio::time::sleep;
use vmm_core::units::Kib;
use vmm_proto::v1::{self, FaultCode, Request, TaskState, VmPhase};

use super::Pool;
use super::asks::{
    WAIT, attach, create, delete, destroy, discard, maintenance, plug, refused, rename, restore,
    save, start, vm,
};
use super::plans::{disk, nic};

#[tokio::test(start_paused = true)]
async fn a_saved_vm_is_charged_nothing_and_goes_on_where_its_file_is() {
    let pool = Pool::of(&["a", "b"]).await;
    pool.agents.with("b", |host| host.load.cpu_milli = 3000);
    pool.settle().await;
    pool.done(create("web", |_| ())).await;
    let memory_kib = Kib::from_mib(200).0;
    let grow = v1::SetMemory { vm: "web".into(), memory_kib, wait_ms_max: WAIT };
    pool.done(Request::SetMemory(grow)).await;
    let charged = pool.reserved_mib("a");
    pool.done(save("web", "/s")).await;
    let saved = vm(&pool, "web").await;
    assert_eq!((saved.phase, saved.host), (VmPhase::Saved, None));
    assert_eq!((saved.saved_path.as_deref(), saved.saved_host.as_deref()), (Some("/s"), Some("a")));
    assert_eq!(pool.reserved_mib("a"), 0);
    // b would be cheaper now.
    pool.agents.with("a", |host| host.load.cpu_milli = 3900);
    pool.settle().await;
    let task = pool.done(restore("web", None)).await;
    assert_eq!(task.placement.expect("a placement").chosen.as_deref(), Some("a"));
    let back = vm(&pool, "web").await;
    assert_eq!((back.phase, back.host.as_deref()), (VmPhase::Running, Some("a")));
    assert_eq!((back.saved_path, back.saved_host), (None, None));
    assert_eq!(pool.reserved_mib("a"), charged, "it is as large as it was");
}

#[tokio::test(start_paused = true)]
async fn a_saved_vm_is_neither_started_nor_deleted_nor_given_devices_until_it_is_given_up() {
    let pool = Pool::of(&["a"]).await;
    pool.done(create("web", |_| ())).await;
    pool.done(save("web", "/s")).await;
    let bad = FaultCode::BadState;
    refused(&pool, start("web"), bad, "vmmctl vm discard web").await;
    refused(&pool, delete("web"), bad, "/s on host a").await;
    refused(&pool, attach("web", disk("xvdb")), bad, "vmmctl vm restore web").await;
    refused(&pool, plug("web", nic(1)), bad, "vmmctl vm restore web").await;
    refused(&pool, save("web", "/t"), bad, "start it first").await;
    let remove = Request::RemoveHost(v1::RemoveHost { host: "a".into() });
    refused(&pool, remove.clone(), bad, "saved memory of VMs (web)").await;
    pool.done(rename("web", "shop")).await;
    pool.done(destroy("shop")).await;
    assert_eq!(vm(&pool, "shop").await.phase, VmPhase::Saved, "there is nothing to destroy");
    pool.ok(discard("shop")).await;
    let stopped = vm(&pool, "shop").await;
    assert_eq!((stopped.phase, stopped.saved_path), (VmPhase::Destroyed, None));
    assert!(stopped.reason.contains("/s is left on host a"), "{}", stopped.reason);
    refused(&pool, discard("shop"), bad, "is not saved").await;
    pool.done(start("shop")).await;
    pool.done(destroy("shop")).await;
    pool.ok(delete("shop")).await;
    pool.ok(remove).await;
}

#[tokio::test(start_paused = true)]
async fn a_restore_obeys_the_rules_of_placement() {
    let pool = Pool::of(&["a"]).await;
    pool.done(create("web", |spec| spec.disks = vec![disk("xvda")])).await;
    refused(&pool, restore("web", None), FaultCode::BadState, "shut it down").await;
    refused(&pool, save("web", "s"), FaultCode::BadRequest, "absolute path").await;
    pool.done(save("web", "/s")).await;
    pool.ok(maintenance("a", true)).await;
    refused(&pool, restore("web", None), FaultCode::NoCapacity, "is in maintenance").await;
    pool.ok(maintenance("a", false)).await;
    let large =
        |spec: &mut v1::Spec| (spec.memory_kib, spec.memory_max_kib) = (4000 << 10, 4000 << 10);
    pool.done(create("large", large)).await;
    refused(&pool, restore("web", None), FaultCode::NoCapacity, "memory: needs").await;
    pool.done(destroy("large")).await;
    pool.done(create("other", |spec| spec.disks = vec![disk("xvda")])).await;
    refused(&pool, restore("web", None), FaultCode::NoCapacity, "uses a disk").await;
    pool.done(destroy("other")).await;
    pool.agents.with("a", |host| host.silent = true);
    sleep(std::time::Duration::from_secs(40)).await;
    refused(&pool, restore("web", None), FaultCode::NoCapacity, "is silent").await;
    assert_eq!(vm(&pool, "web").await.phase, VmPhase::Saved);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_vm_is_restored_from_a_file_that_is_named() {
    let pool = Pool::of(&["a", "b"]).await;
    pool.done(create("web", |_| ())).await;
    let host = vm(&pool, "web").await.host.expect("a host");
    pool.done(destroy("web")).await;
    refused(&pool, restore("web", None), FaultCode::BadState, "--path").await;
    refused(&pool, restore("web", Some("s")), FaultCode::BadRequest, "absolute path").await;
    let task = pool.begin(restore("web", Some("/s"))).await;
    let task = pool.wait(&task.task).await;
    assert_eq!(task.fault.expect("a fault").code, FaultCode::FileNotFound);
    assert_eq!(vm(&pool, "web").await.phase, VmPhase::Failed);
    pool.agents.with(&host, |host| host.files.insert("/s".into()));
    pool.done(restore("web", Some("/s"))).await;
    assert_eq!(vm(&pool, "web").await.host, Some(host.clone()));
    assert!(pool.reserved_mib(&host) > 256, "as large as its guest may be");
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_fails_leaves_the_vm_saved() {
    let pool = Pool::of(&["a"]).await;
    pool.done(create("web", |_| ())).await;
    pool.done(save("web", "/s")).await;
    pool.agents.with("a", |host| host.files.clear());
    let task = pool.begin(restore("web", None)).await;
    let fault = pool.wait(&task.task).await.fault.expect("a fault");
    assert_eq!((fault.code, fault.hop.as_str()), (FaultCode::FileNotFound, "agent a"));
    let saved = vm(&pool, "web").await;
    assert_eq!((saved.phase, saved.saved_path.as_deref()), (VmPhase::Saved, Some("/s")));
    assert_eq!(saved.reason, "it could not be restored; its task says why");
    pool.agents.with("a", |host| host.files.insert("/s".into()));
    pool.done(restore("web", None)).await;
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_nobody_heard_of_is_decided_by_the_host() {
    for (was_built, phase) in [(true, VmPhase::Running), (false, VmPhase::Saved)] {
        let pool = Pool::of(&["a"]).await;
        let id = pool.done(create("web", |_| ())).await.vm;
        pool.done(save("web", "/s")).await;
        if was_built {
            pool.agents.with("a", |host| host.lose_replies = usize::MAX);
        }
        let task = pool.begin(restore("web", None)).await;
        if !was_built {
            pool.agents.with("a", |host| host.silent = true);
        }
        sleep(std::time::Duration::from_millis(100)).await;
        pool.agents.with("a", |host| host.silent = true);
        assert_eq!(pool.wait(&task.task).await.state, TaskState::Failed);
        assert_eq!(vm(&pool, "web").await.phase, VmPhase::Lost);
        refused(&pool, start("web"), FaultCode::BadState, "is not known").await;
        refused(&pool, restore("web", None), FaultCode::BadState, "is not known").await;
        pool.agents.with("a", |host| {
            (host.silent, host.lose_replies) = (false, 0);
            if !was_built {
                host.vms.remove(&id);
            }
        });
        pool.settle().await;
        let after = vm(&pool, "web").await;
        assert_eq!(after.phase, phase);
        assert_eq!(after.saved_path.is_some(), phase == VmPhase::Saved);
    }
}
