//! Devices, names and settings: what each change does, and what it is refused with.

use tokio::time::sleep;
use vmm_proto::v1::{self, FaultCode, Reply, Request, TaskState, VmPhase};

use super::Pool;
use super::asks::{
    WAIT, attach, configure, create, destroy, detach, maintenance, plug, refused, rename, resize,
    save, start, unplug, vm,
};
use super::plans::{disk, nic};
use super::pool::spec;

#[tokio::test(start_paused = true)]
async fn the_definition_of_a_stopped_vm_changes_at_once_and_its_next_start_has_it() {
    let pool = Pool::of(&["a"]).await;
    let id = pool.done(create("web", |spec| spec.disks = vec![disk("xvda")])).await.vm;
    pool.done(destroy("web")).await;
    pool.agents.with("a", |host| (host.silent = true, host.done.clear()).1);
    let on_event = v1::OnEvent {
        poweroff: v1::EventAction::Restart,
        reboot: v1::EventAction::Preserve,
        crash: v1::EventAction::Restart,
    };
    let changes = [
        attach("web", disk("xvdb")),
        detach("web", "xvda"),
        plug("web", nic(0)),
        plug("web", nic(1)),
        unplug("web", 0),
        configure("web", |c| c.on_event = Some(on_event)),
        rename("web", "shop"),
    ];
    for change in changes {
        assert_eq!(pool.begin(change).await.state, TaskState::Done);
    }
    refused(&pool, resize("shop", "xvdb", 1 << 20), FaultCode::BadState, "start it first").await;
    pool.agents.with("a", |host| host.silent = false);
    pool.settle().await;
    pool.done(start("shop")).await;
    assert_eq!(pool.agents.with("a", |host| host.done.clone()), ["BuildVm"]);
    let built = pool.agents.with("a", |host| host.specs[&id].clone());
    assert_eq!((built.disks, built.nics), (vec![disk("xvdb")], vec![nic(1)]));
    assert_eq!((built.name.as_str(), built.on_event), ("shop", Some(on_event)));
}

#[tokio::test(start_paused = true)]
async fn what_was_changed_while_it_ran_is_there_at_the_next_start() {
    let pool = Pool::of(&["a"]).await;
    let id = pool.done(create("web", |_| ())).await.vm;
    for change in [
        attach("web", disk("xvdb")),
        plug("web", nic(3)),
        resize("web", "xvdb", 1 << 30),
        configure("web", |c| c.memory_min_kib = Some(65_536)),
        rename("web", "shop"),
    ] {
        pool.done(change).await;
    }
    let told = pool.agents.with("a", |host| host.specs[&id].clone());
    assert_eq!(vm(&pool, "shop").await.spec, told);
    pool.done(destroy("shop")).await;
    pool.done(start("shop")).await;
    assert_eq!(pool.agents.with("a", |host| host.specs[&id].clone()), told);
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_is_refused_with_its_owner() {
    let pool = Pool::of(&["a"]).await;
    let own = |spec: &mut v1::Spec| (spec.disks, spec.nics) = (vec![disk("xvda")], vec![nic(0)]);
    pool.done(create("web", own)).await;
    let conflict = FaultCode::Conflict;
    refused(&pool, create("other", |s| s.nics = vec![nic(0)]), conflict, "VM web has a NIC").await;
    let twins = |s: &mut v1::Spec| s.nics = vec![nic(4), v1::Nic { index: 5, ..nic(4) }];
    refused(&pool, create("other", twins), conflict, "two NICs").await;
    let twice = |s: &mut v1::Spec| {
        s.disks = vec![disk("xvda"), v1::Disk { device: "xvdb".into(), ..disk("xvda") }];
    };
    refused(&pool, create("other", twice), conflict, "named by two disks").await;
    let shared = |s: &mut v1::Spec| s.disks = vec![disk("xvda")];
    refused(&pool, create("other", shared), FaultCode::NoCapacity, "uses a disk").await;
    pool.done(create("other", |_| ())).await;
    let at = |path: &str, device: &str| v1::Disk { path: path.into(), ..disk(device) };
    let bad = FaultCode::BadRequest;
    for (request, code, says) in [
        (rename("other", "web"), conflict, "use another name"),
        (rename("other", "w/b"), bad, "letters"),
        (attach("web", at("/x.img", "xvda")), conflict, "has a disk xvda already"),
        (attach("web", at("/srv/xvda.img", "xvdb")), conflict, "as xvda already"),
        (attach("other", disk("xvda")), conflict, "VM web uses /srv/xvda.img"),
        (attach("web", at("x.img", "xvdb")), bad, "absolute path"),
        (attach("web", at("/x.img", "sda")), bad, "xvda to xvdp"),
        (detach("web", "xvdz"), FaultCode::BadState, "it has: xvda"),
        (detach("other", "xvda"), FaultCode::BadState, "it has: none"),
        (resize("web", "xvdb", 1 << 20), FaultCode::BadState, "it has: xvda"),
        (resize("web", "xvda", 1000), bad, "multiple of 512"),
        (plug("web", v1::Nic { mac: "00:16:3e:00:00:99".into(), ..nic(0) }), conflict, "a NIC 0"),
        (plug("web", v1::Nic { index: 1, ..nic(0) }), conflict, "VM web has a NIC"),
        (plug("other", nic(0)), conflict, "VM web has a NIC"),
        (plug("web", v1::Nic { mac: "01:16:3e:00:00:99".into(), ..nic(1) }), bad, "unicast"),
        (plug("web", v1::Nic { bridge: "a/b".into(), ..nic(1) }), bad, "bridge name"),
        (unplug("web", 7), FaultCode::BadState, "it has: 0"),
        (configure("web", |_| ()), bad, "say what shall be"),
        (configure("web", |c| c.memory_min_kib = Some(1 << 20)), bad, "memory-min <= memory"),
        (plug("nobody", nic(1)), FaultCode::UnknownVm, "vmmctl vm list"),
    ] {
        refused(&pool, request, code, says).await;
    }
    assert_eq!(pool.agents.with("a", |host| host.done.clone()), ["BuildVm", "BuildVm"]);
}

#[tokio::test(start_paused = true)]
async fn two_vms_may_read_one_disk_and_hosts_have_disks_of_their_own() {
    let pool = Pool::of(&["a", "b"]).await;
    let reads = v1::Disk { read_only: true, ..disk("xvda") };
    let read = |spec: &mut v1::Spec| spec.disks = vec![reads.clone()];
    pool.ok(maintenance("b", true)).await;
    pool.done(create("one", read)).await;
    pool.done(create("two", read)).await;
    let write = |spec: &mut v1::Spec| spec.disks = vec![disk("xvda")];
    refused(&pool, create("three", write), FaultCode::NoCapacity, "uses a disk").await;
    pool.ok(maintenance("b", false)).await;
    let task = pool.done(create("three", write)).await;
    assert_eq!(pool.agents.running_on(&task.vm), ["b"], "another host, another file");
}

#[tokio::test(start_paused = true)]
async fn what_is_being_given_is_taken_already() {
    let pool = Pool::of(&["a"]).await;
    pool.done(create("web", |_| ())).await;
    pool.done(create("other", |_| ())).await;
    let second = std::time::Duration::from_secs(1);
    pool.agents.with("a", |host| host.change_time = second);
    for (first, second) in [
        (rename("web", "shop"), rename("other", "shop")),
        (rename("web", "mall"), create("mall", |_| ())),
        (plug("web", nic(0)), plug("other", nic(0))),
        (plug("web", nic(1)), create("new", |spec| spec.nics = vec![nic(1)])),
        (attach("web", disk("xvdb")), attach("other", disk("xvdb"))),
    ] {
        // Names change on the way; the id does not.
        let id = pool.vm("web").await.or(pool.vm("shop").await).or(pool.vm("mall").await);
        let id = id.expect("there").vm;
        let first = match first {
            Request::RenameVm(r) => rename(&id, &r.name),
            Request::AttachNic(r) => plug(&id, r.nic),
            Request::AttachDisk(r) => attach(&id, r.disk),
            other => panic!("{other:?}"),
        };
        let task = pool.begin(first).await;
        let fault = pool.call(None, second).await.expect_err("taken");
        assert_eq!(fault.code, FaultCode::Conflict, "{fault}");
        assert_eq!(pool.wait(&task.task).await.state, TaskState::Done);
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_or_suspended_guest_is_not_asked_for_devices_but_can_be_named_anew() {
    let pool = Pool::of(&["a"]).await;
    pool.done(create("web", |spec| spec.disks = vec![disk("xvda")])).await;
    let bad = FaultCode::BadState;
    for (stop, go, says) in [
        (
            Request::PauseVm(v1::PauseVm { vm: "web".into() }),
            Request::UnpauseVm(v1::UnpauseVm { vm: "web".into() }),
            "unpause it first",
        ),
        (
            Request::SuspendVm(v1::SuspendVm { vm: "web".into(), wait_ms_max: WAIT }),
            Request::ResumeVm(v1::ResumeVm { vm: "web".into() }),
            "resume it first",
        ),
    ] {
        let reserved = pool.reserved_mib("a");
        pool.done(stop).await;
        pool.settle().await;
        assert_eq!(pool.reserved_mib("a"), reserved, "it keeps its charge");
        for request in [attach("web", disk("xvdb")), resize("web", "xvda", 512), unplug("web", 0)] {
            refused(&pool, request, bad, says).await;
        }
        pool.done(rename("web", "shop")).await;
        pool.done(rename("shop", "web")).await;
        pool.done(go).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_ended_and_is_preserved_keeps_its_charge_until_it_is_destroyed() {
    let pool = Pool::of(&["a"]).await;
    let id = pool.done(create("web", |_| ())).await.vm;
    let reserved = pool.reserved_mib("a");
    pool.agents.with("a", |host| host.set(&id, VmPhase::Preserved));
    pool.settle().await;
    assert_eq!(vm(&pool, "web").await.phase, VmPhase::Preserved);
    assert_eq!(pool.reserved_mib("a"), reserved);
    for request in [start("web"), rename("web", "shop"), save("web", "/s")] {
        refused(&pool, request, FaultCode::BadState, "destroy").await;
    }
    pool.done(destroy("web")).await;
    assert_eq!(pool.reserved_mib("a"), 0);
}

#[tokio::test(start_paused = true)]
async fn all_that_a_vm_can_be_reaches_its_agent() {
    let pool = Pool::of(&["a"]).await;
    let everything = |spec: &mut v1::Spec| {
        spec.kind = v1::GuestKind::Pv;
        spec.memory_min_kib = Some(65_536);
        spec.disks = vec![disk("xvda"), disk("xvdb")];
        spec.nics = vec![nic(0), nic(1)];
        spec.scheduling = Some(v1::Scheduling {
            weight: 512,
            cap_percent: 50,
            affinity: "0-1".into(),
            affinity_soft: "1".into(),
        });
        spec.autostart = Some(v1::Autostart { enabled: true, order: 2, delay_s: 5 });
    };
    let mut expected = spec("web");
    everything(&mut expected);
    let id = pool.done(create("web", everything)).await.vm;
    assert_eq!(pool.agents.with("a", |host| host.specs[&id].clone()), expected);
    assert_eq!(vm(&pool, "web").await.spec, expected);
    for change in [
        (|s: &mut v1::Spec| s.kind = v1::GuestKind::Hvm) as fn(&mut v1::Spec),
        |s| s.memory_min_kib = Some(1 << 30),
        |s| {
            s.scheduling = Some(v1::Scheduling {
                weight: 0,
                cap_percent: 0,
                affinity: String::new(),
                affinity_soft: String::new(),
            });
        },
        |s| s.autostart = Some(v1::Autostart { enabled: true, order: 0, delay_s: 9999 }),
    ] {
        refused(&pool, create("other", change), FaultCode::BadRequest, "refused").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_of_a_change_that_was_done_at_once_is_remembered() {
    let mut pool = Pool::of(&["a"]).await;
    pool.done(create("web", |_| ())).await;
    pool.done(destroy("web")).await;
    let task = |reply| match reply {
        Ok(Reply::Task(task)) => task.task,
        other => panic!("{other:?}"),
    };
    let first = task(pool.call(Some("k"), attach("web", disk("xvdb"))).await);
    pool.restart().await;
    assert_eq!(task(pool.call(Some("k"), attach("web", disk("xvdb"))).await), first);
    refused(&pool, attach("web", disk("xvdb")), FaultCode::Conflict, "has a disk xvdb").await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_whose_attachment_was_never_heard_of_is_taken_away_by_force() {
    let pool = Pool::of(&["a"]).await;
    let id = pool.done(create("web", |_| ())).await.vm;
    pool.agents.with("a", |host| host.lose_replies = usize::MAX);
    let task = pool.begin(attach("web", disk("xvdb"))).await;
    sleep(std::time::Duration::from_millis(100)).await;
    pool.agents.with("a", |host| host.silent = true);
    let fault = pool.wait(&task.task).await.fault.expect("a fault");
    assert!(fault.message.contains("could not be taken back: tell"), "{fault}");
    pool.agents.with("a", |host| (host.silent, host.lose_replies) = (false, 0));
    pool.settle().await;
    assert!(vm(&pool, "web").await.spec.disks.is_empty());
    let has = || pool.agents.with("a", |host| host.specs[&id].disks.clone());
    assert_eq!(has(), [disk("xvdb")]);
    refused(&pool, detach("web", "xvdb"), FaultCode::BadState, "has no disk").await;
    let Request::DetachDisk(polite) = detach("web", "xvdb") else { panic!("a DetachDisk") };
    pool.done(Request::DetachDisk(v1::DetachDisk { force: true, ..polite })).await;
    assert_eq!(has(), []);
    pool.done(attach("web", disk("xvdb"))).await;
}

/// An agent that has restarted does not know the key any more.
#[tokio::test(start_paused = true)]
async fn a_change_that_is_refused_after_a_lost_reply_is_taken_back() {
    let pool = Pool::of(&["a"]).await;
    let id = pool.done(create("web", |_| ())).await.vm;
    pool.agents.with("a", |host| host.lose_replies = 1);
    let task = pool.begin(attach("web", disk("xvdb"))).await;
    sleep(std::time::Duration::from_millis(50)).await;
    pool.agents.with("a", |host| host.forget_keys());
    let task = pool.wait(&task.task).await;
    assert_eq!(task.fault.expect("a fault").code, FaultCode::Conflict);
    assert!(pool.agents.with("a", |host| host.specs[&id].disks.is_empty()));
    assert!(vm(&pool, "web").await.spec.disks.is_empty());
}
