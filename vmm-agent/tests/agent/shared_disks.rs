//! VMs that write to disks which both hosts reach: while any of their requests is under way here, nobody there opens the disk.

use std::time::Duration;

use vmm_proto::v1::{Fault, FaultCode, MigrationStage, MigrationVerdict, Reply};

use crate::host::TestVm;
use crate::pair::Pair;

const COMMIT: MigrationVerdict = MigrationVerdict::Commit;
const ABORT: MigrationVerdict = MigrationVerdict::Abort;
/// xvda's number.
const XVDA: u32 = 51712;

fn loops(node: &crate::pair::Node) -> usize {
    node.host.backend.dom0.loops().unwrap().len()
}

async fn receive(pair: &Pair, vm: &TestVm) -> Result<Reply, Fault> {
    pair.destination.host.change(Pair::receive_request(vm)).await
}

async fn send(pair: &Pair, vm: &TestVm) -> Result<Reply, Fault> {
    pair.source.host.change(Pair::send_request(vm)).await
}

#[tokio::test(start_paused = true)]
async fn a_vm_moves_with_its_disk_and_back() {
    let pair = Pair::sharing().await;
    let vm = pair.writing().await;
    receive(&pair, &vm).await.unwrap();
    let sent = send(&pair, &vm).await.unwrap();
    assert!(matches!(sent, Reply::Offered(_)), "{sent:?}");
    assert_eq!((loops(&pair.source), loops(&pair.destination)), (1, 1));
    pair.destination.settle(&vm, COMMIT).await.unwrap();
    pair.source.settle(&vm, COMMIT).await.unwrap();
    assert!(pair.destination.runs(&vm));
    assert_eq!((loops(&pair.source), loops(&pair.destination)), (0, 1));
    pair.source.host.assert_clean();
    // It is its disk there: another VM does not get it.
    pair.destination.host.sleep(5).await;
    let mut other = pair.source.host.vm(1);
    other.id = pair.source.host.vm(9).id;
    let refused = pair.destination.host.build(&other).await.unwrap_err();
    assert_eq!(refused.code, FaultCode::Conflict, "{refused}");
    assert!(matches!(pair.destination.host.shutdown(&vm, 10).await, Ok(Reply::Done(_))));
    pair.destination.host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn nobody_opens_the_disk_while_a_request_is_under_way() {
    let pair = Pair::sharing().await;
    let vm = pair.writing().await;
    let domid = pair.source.domid(&vm);
    pair.source.host.machine.set_in_flight(domid, XVDA, 3);
    receive(&pair, &vm).await.unwrap();
    let (sent, ()) = tokio::join!(send(&pair, &vm), async {
        // It stands still, and waits for its disk.
        for _ in 0..10_000 {
            if !pair.source.runs(&vm) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(loops(&pair.destination), 0, "it has opened the disk");
            assert_eq!(pair.destination.stage(&vm).await, Some(MigrationStage::Receiving));
        }
        pair.source.host.machine.set_in_flight(domid, XVDA, 0);
    });
    assert!(matches!(sent, Ok(Reply::Offered(_))), "{sent:?}");
    assert_eq!(loops(&pair.destination), 1);
    pair.destination.settle(&vm, ABORT).await.unwrap();
    pair.source.settle(&vm, ABORT).await.unwrap();
    assert!(pair.source.runs(&vm));
    assert_eq!((loops(&pair.source), loops(&pair.destination)), (1, 0));
    pair.destination.host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_never_answers_keeps_its_guest_here() {
    let pair = Pair::sharing().await;
    let vm = pair.writing().await;
    let domid = pair.source.domid(&vm);
    pair.source.host.machine.set_in_flight(domid, XVDA, 1);
    receive(&pair, &vm).await.unwrap();
    let refused = send(&pair, &vm).await.unwrap_err();
    assert!(refused.message.contains("an answer of disk xvda to 1 requests"), "{refused}");
    assert!(pair.source.runs(&vm));
    pair.destination.settle(&vm, ABORT).await.unwrap();
    pair.destination.host.assert_clean();
    assert_eq!((loops(&pair.source), loops(&pair.destination)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_only_one_host_has_stays() {
    let pair = Pair::new().await;
    let vm = pair.writing().await;
    for refused in [receive(&pair, &vm).await, send(&pair, &vm).await] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code, FaultCode::Unsupported);
        assert!(refused.message.contains("shared_stores"), "{refused}");
    }
    assert!(pair.source.runs(&vm));
    pair.destination.host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_not_there_is_told_before_anything_is_sent() {
    let pair = Pair::sharing().await;
    let mut vm = pair.writing().await;
    // The same VM, told with a disk that the other host does not have.
    vm.spec.disks[0].path = pair.source.host.path("elsewhere.img");
    let refused = receive(&pair, &vm).await.unwrap_err();
    assert_eq!(refused.code, FaultCode::FileNotFound);
    assert!(refused.message.contains("elsewhere.img"), "{refused}");
    pair.destination.host.assert_clean();
    assert!(pair.source.runs(&vm));
}

#[tokio::test(start_paused = true)]
async fn a_source_whose_agent_dies_with_requests_under_way_keeps_its_guest() {
    let mut pair = Pair::sharing().await;
    let vm = pair.writing().await;
    let domid = pair.source.domid(&vm);
    pair.source.host.machine.set_in_flight(domid, XVDA, 1);
    receive(&pair, &vm).await.unwrap();
    tokio::select! {
        sent = send(&pair, &vm) => panic!("{sent:?}"),
        () = async {
            while pair.source.runs(&vm) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        } => {}
    }
    pair.source.kill().await;
    pair.source.start().await;
    pair.destination.settle(&vm, ABORT).await.unwrap();
    pair.source.settle(&vm, ABORT).await.unwrap();
    pair.source.host.sleep(30).await;
    assert!(pair.source.runs(&vm));
    assert_eq!((loops(&pair.source), loops(&pair.destination)), (1, 0));
    pair.destination.host.assert_clean();
}
