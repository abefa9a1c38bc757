//! Who may ask, how often, and for what.

use vmm_proto::principal::Principal;
use vmm_proto::server::Caller;
use vmm_proto::v1::{FaultCode, ListVms, Ping, Reply, Request};
use xen_bindings::sim::Op;

use crate::host::{Host, manager};

#[tokio::test(start_paused = true)]
async fn only_the_manager_may_command_an_agent() {
    let host = Host::new().await;
    for (principal, allowed) in [
        (Principal::manager("m"), true),
        (Principal::agent("h2"), false),
        (Principal::admin("ann"), false),
    ] {
        let caller = Caller { principal, ..manager("k") };
        let outcome = host.call(caller, Request::Ping(Ping { text: "hi".into() })).await;
        match outcome {
            Ok(reply) => assert!(allowed && reply == Reply::Pong(Ping { text: "hi".into() })),
            Err(fault) => assert!(!allowed && fault.code == FaultCode::Denied, "{fault}"),
        }
    }
    let fault = host.change(Request::ListVms(ListVms::default())).await.unwrap_err();
    assert_eq!((fault.code, fault.hop.as_str()), (FaultCode::Unsupported, "agent h1"));
}

#[tokio::test(start_paused = true)]
async fn a_build_asked_for_again_is_done_once() {
    let mut host = Host::new().await;
    let vm = host.vm(1);
    let request = Host::build_request(&vm);
    let (first, second) = tokio::join!(
        host.call(manager("one"), request.clone()),
        host.call(manager("one"), request.clone())
    );
    assert_eq!(first.unwrap(), second.unwrap());
    host.call(manager("one"), request.clone()).await.unwrap();
    assert_eq!(host.machine.recorder().count(Op::DomainCreate), 1);
    // Another key is another build, and the VM is there already.
    let fault = host.call(manager("two"), request.clone()).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::Conflict);
    let other = Host::build_request(&host.vm(2));
    let fault = host.call(manager("one"), other).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::IdempotencyMismatch);
    // An agent that restarted meanwhile still knows.
    host.kill_agent().await;
    host.start_agent().await;
    host.call(manager("one"), request).await.unwrap();
    assert_eq!(host.machine.recorder().count(Op::DomainCreate), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_invites_another_try_is_not_repeated() {
    let host = Host::new().await;
    let mut vm = host.vm(1);
    vm.spec.cmdline = "behaviour=deaf".into();
    host.build(&vm).await.unwrap();
    let down = vmm_proto::v1::ShutdownVm { vm: vm.id.clone(), wait_ms_max: 2000 };
    let request = Request::ShutdownVm(down);
    let fault = host.call(manager("s"), request.clone()).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::TimedOut);
    let domid = host.domid(&vm).await;
    host.machine.set_guest_behaviour(domid, xen_bindings::sim::Behaviour::Cooperative);
    host.call(manager("s"), request).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_poll_waits_for_news_and_no_longer_than_asked() {
    let host = Host::new().await;
    let cursor = host.report().await.cursor;
    let begun = tokio::time::Instant::now();
    let quiet = host.await_report(&cursor, 3000).await;
    assert!(begun.elapsed().as_secs() >= 3 && quiet.cursor == cursor);
    let vm = host.vm(1);
    let (report, built) = tokio::join!(host.await_report(&cursor, 60_000), host.build(&vm));
    built.unwrap();
    assert!(report.cursor != cursor && report.vms.len() == 1);
    assert!(begun.elapsed().as_secs() < 10);
}

#[tokio::test(start_paused = true)]
async fn a_disk_image_belongs_to_one_vm_that_writes() {
    let host = Host::new().await;
    let writer = host.vm(1);
    host.build(&writer).await.unwrap();
    let mut reader = host.vm(2);
    reader.spec.disks.clone_from(&writer.spec.disks);
    reader.spec.disks[0].read_only = true;
    assert_eq!(host.build(&reader).await.unwrap_err().code, FaultCode::Conflict);
    // By another path, too.
    std::os::unix::fs::symlink(host.path("disk.img"), host.dir.path().join("link.img")).unwrap();
    reader.spec.disks[0].path = host.path("link.img");
    let fault = host.build(&reader).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::Conflict, "{fault}");
    host.destroy(&writer).await.unwrap();
    host.build(&reader).await.unwrap();
    host.destroy(&reader).await.unwrap();
    host.assert_clean();
}
