//! A VM that moves between two agents: whoever dies, whatever is lost, it runs on exactly one of them in the end, and never on both.

use std::time::Duration;

use vmm_proto::v1::{FaultCode, MigrationStage, MigrationVerdict, Reply, VmPhase};
use xen_bindings::sim::SimConfig;

use crate::pair::{DESTINATION, Pair, SOURCE};

const COMMIT: MigrationVerdict = MigrationVerdict::Commit;
const ABORT: MigrationVerdict = MigrationVerdict::Abort;

#[tokio::test(start_paused = true)]
async fn a_vm_moves_and_its_source_is_clean() {
    for streams in [1, 4] {
        let pair = Pair::over(streams).await;
        let vm = pair.offered().await;
        assert_eq!(pair.source.stage(&vm).await, Some(MigrationStage::Offered));
        assert_eq!(pair.destination.stage(&vm).await, Some(MigrationStage::Ready));
        assert!(!pair.source.runs(&vm) && !pair.destination.runs(&vm));
        let (from, to) = (pair.source.domid(&vm), pair.destination.domid(&vm));
        let sent = pair.source.host.machine.guest_memory(from).unwrap();
        let come = pair.destination.host.machine.guest_memory(to).unwrap();
        assert_eq!(sent.differences(&come), [], "MIG2");
        pair.destination.settle(&vm, COMMIT).await.unwrap();
        assert!(pair.destination.runs(&vm));
        pair.at_most_one_runs(&vm);
        pair.source.settle(&vm, COMMIT).await.unwrap();
        assert_eq!(pair.source.stage(&vm).await, Some(MigrationStage::Gone));
        assert_eq!(pair.source.phase(&vm).await, Some(VmPhase::Migrated));
        pair.source.host.assert_clean();
        // Told again, it is so already; told otherwise, it is refused.
        pair.source.settle(&vm, COMMIT).await.unwrap();
        let late = pair.destination.settle(&vm, ABORT).await.unwrap_err();
        assert_eq!(late.code, FaultCode::Conflict);
        // It is a VM like any other there.
        pair.destination.host.sleep(2).await;
        assert!(matches!(pair.destination.host.shutdown(&vm, 10).await, Ok(Reply::Done(_))));
        pair.destination.host.assert_clean();
    }
}

/// The part of its silence that is its own.
#[tokio::test(start_paused = true)]
async fn it_is_told_when_a_guest_that_has_moved_uses_its_devices_again() {
    let pair = Pair::new().await;
    let vm = pair.networked().await;
    pair.destination.host.change(Pair::receive_request(&vm)).await.unwrap();
    pair.source.host.change(Pair::send_request(&vm)).await.unwrap();
    // It does not run yet, and nobody waits for its devices.
    let state = pair.destination.state(&vm, 10_000, true).await.unwrap();
    assert_eq!((state.stage, state.started_ms), (MigrationStage::Ready, None));
    assert_eq!(state.devices, []);
    tokio::time::sleep(Duration::from_millis(500)).await;
    pair.destination.settle(&vm, COMMIT).await.unwrap();
    pair.source.settle(&vm, COMMIT).await.unwrap();
    let state = pair.destination.state(&vm, 60_000, true).await.unwrap();
    assert!(state.started_ms.is_some_and(|ms| ms >= 500), "{state:?}");
    let [nic] = &state.devices[..] else { panic!("{state:?}") };
    assert_eq!(nic.name, "NIC 0");
    assert!(nic.used_ms.is_some(), "{state:?}");
    assert!(nic.heard_ms >= nic.used_ms, "{state:?}");
    // The source has none of it.
    assert_eq!(pair.source.state(&vm, 10_000, true).await.unwrap().devices, []);
}

#[tokio::test(start_paused = true)]
async fn a_pv_guest_moves_and_its_source_is_clean() {
    for streams in [1, 4] {
        let pair = Pair::over(streams).await;
        let vm = pair.running_pv().await;
        pair.destination.host.change(Pair::receive_request(&vm)).await.unwrap();
        let sent = pair.source.host.change(Pair::send_request(&vm)).await.unwrap();
        assert!(matches!(sent, Reply::Offered(_)), "{sent:?}");
        let (from, to) = (pair.source.domid(&vm), pair.destination.domid(&vm));
        let sent = pair.source.host.machine.guest_memory(from).unwrap();
        let come = pair.destination.host.machine.guest_memory(to).unwrap();
        assert_eq!(sent.differences(&come), [], "MIG2");
        pair.destination.settle(&vm, COMMIT).await.unwrap();
        pair.at_most_one_runs(&vm);
        pair.source.settle(&vm, COMMIT).await.unwrap();
        assert!(pair.destination.runs(&vm));
        pair.source.host.assert_clean();
        pair.destination.host.sleep(2).await;
        assert!(matches!(pair.destination.host.shutdown(&vm, 10).await, Ok(Reply::Done(_))));
        pair.destination.host.assert_clean();
    }
}

/// Whatever ends the move of a PV guest, it goes on where it was, and nobody notes its writes.
#[tokio::test(start_paused = true)]
async fn a_pv_guest_whose_move_ends_early_goes_on_where_it_was() {
    #[derive(Clone, Copy, Debug)]
    enum End {
        Cancelled,
        Unplugged,
        Killed,
    }
    for end in [End::Cancelled, End::Unplugged, End::Killed] {
        for delay_ms in [0, 40, 150, 400, 900] {
            let mut pair = Pair::new().await;
            let vm = pair.running_pv().await;
            pair.destination.host.change(Pair::receive_request(&vm)).await.unwrap();
            tokio::select! {
                _ = pair.source.host.change(Pair::send_slowly_request(&vm)) => {}
                () = async {
                    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                    match end {
                        End::Cancelled => drop(pair.source.settle(&vm, ABORT).await.unwrap()),
                        End::Unplugged => pair.network.unplug(DESTINATION),
                        End::Killed => return,
                    }
                    std::future::pending().await
                } => {}
            }
            if let End::Killed = end {
                pair.source.kill().await;
                pair.source.start().await;
            }
            pair.at_most_one_runs(&vm);
            let _ = pair.destination.settle(&vm, ABORT).await;
            let _ = pair.source.settle(&vm, ABORT).await;
            pair.source.host.sleep(30).await;
            let what = format!("{end:?} after {delay_ms} ms");
            assert!(pair.source.runs(&vm), "{what}");
            assert_eq!(pair.source.phase(&vm).await, Some(VmPhase::Running), "{what}");
            let domid = pair.source.domid(&vm);
            assert!(!pair.source.host.machine.logs_writes(domid), "{what}");
            pair.destination.host.assert_clean();
        }
    }
}

/// What a guest's tools say is free does not travel, and comes back where the guest runs then.
#[tokio::test(start_paused = true)]
async fn a_guest_that_says_what_is_free_moves_without_it_and_has_it_again() {
    for verdict in [COMMIT, ABORT] {
        let pair = Pair::new().await;
        let vm = pair.with_free_memory().await;
        let held = pair.source.held_kib(&vm);
        pair.destination.host.change(Pair::receive_request(&vm)).await.unwrap();
        let sent = pair.source.host.change(Pair::send_slowly_request(&vm)).await.unwrap();
        assert!(matches!(sent, Reply::Offered(_)), "{sent:?}");
        let come = pair.destination.held_kib(&vm);
        assert!(come < held * 2 / 3, "{come} of {held} KiB");
        pair.destination.settle(&vm, verdict).await.unwrap();
        pair.source.settle(&vm, verdict).await.unwrap();
        let runs = if verdict == COMMIT { &pair.destination } else { &pair.source };
        runs.has_again(&vm, held).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_whose_agent_dies_after_it_was_squeezed_has_its_memory_again() {
    for delay_ms in [100, 300, 1_000, 5_000, 60_000] {
        let mut pair = Pair::new().await;
        let vm = pair.with_free_memory().await;
        let held = pair.source.held_kib(&vm);
        pair.destination.host.change(Pair::receive_request(&vm)).await.unwrap();
        tokio::select! {
            _ = pair.source.host.change(Pair::send_slowly_request(&vm)) => {}
            () = tokio::time::sleep(Duration::from_millis(delay_ms)) => {}
        }
        let squeezed = pair.source.held_kib(&vm);
        assert!(squeezed < held, "it was not squeezed after {delay_ms} ms");
        pair.source.kill().await;
        pair.source.start().await;
        pair.destination.settle(&vm, ABORT).await.unwrap();
        pair.source.settle(&vm, ABORT).await.unwrap();
        pair.source.has_again(&vm, held).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_verdict_to_abort_leaves_everything_as_before() {
    let pair = Pair::new().await;
    let vm = pair.offered().await;
    pair.destination.settle(&vm, ABORT).await.unwrap();
    pair.destination.host.assert_clean();
    assert_eq!(pair.destination.phase(&vm).await, None);
    pair.source.settle(&vm, ABORT).await.unwrap();
    assert!(pair.source.runs(&vm));
    assert_eq!(pair.source.phase(&vm).await, Some(VmPhase::Running));
    let late = pair.destination.settle(&vm, COMMIT).await.unwrap_err();
    assert_eq!(late.code, FaultCode::Conflict, "{late}");
    // And it can be moved after all.
    pair.source.host.set_memory(&vm, 32).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_manager_the_two_settle_it_between_them() {
    let pair = Pair::new().await;
    let vm = pair.offered().await;
    pair.source.reaches(&vm, MigrationStage::Resumed).await;
    assert!(pair.source.runs(&vm));
    assert_eq!(pair.destination.stage(&vm).await, Some(MigrationStage::Discarded));
    pair.destination.host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hears_nothing_learns_that_it_has_started() {
    let pair = Pair::new().await;
    let vm = pair.offered().await;
    pair.destination.settle(&vm, COMMIT).await.unwrap();
    pair.source.reaches(&vm, MigrationStage::Gone).await;
    pair.at_most_one_runs(&vm);
    pair.source.host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_source_that_reaches_nobody_stands_still() {
    let pair = Pair::new().await;
    let vm = pair.offered().await;
    pair.network.unplug(DESTINATION);
    pair.source.host.sleep(600).await;
    assert_eq!(pair.source.stage(&vm).await, Some(MigrationStage::Offered));
    assert!(!pair.source.runs(&vm));
    // Whoever wants it destroyed waits for the verdict, too: the destination may run it.
    let (destroyed, told) = tokio::join!(pair.source.host.destroy(&vm), async {
        pair.source.host.sleep(1).await;
        pair.source.settle(&vm, COMMIT).await
    });
    assert!(told.is_ok() && destroyed.is_ok());
    pair.source.host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_at_either_end_changes_nothing_of_the_verdict() {
    for verdict in [COMMIT, ABORT] {
        let mut pair = Pair::new().await;
        let vm = pair.offered().await;
        pair.source.kill().await;
        pair.source.start().await;
        assert_eq!(pair.source.stage(&vm).await, Some(MigrationStage::Offered));
        assert_eq!(pair.source.phase(&vm).await, Some(VmPhase::Migrating));
        pair.destination.settle(&vm, verdict).await.unwrap();
        pair.source.settle(&vm, verdict).await.unwrap();
        assert_eq!(pair.source.runs(&vm), verdict == ABORT);
        assert_eq!(pair.destination.runs(&vm), verdict == COMMIT);
    }
    let mut pair = Pair::new().await;
    let vm = pair.offered().await;
    pair.destination.kill().await;
    pair.destination.start().await;
    // What it had is gone, and it says so.
    pair.destination.host.assert_clean();
    let fault = pair.destination.settle(&vm, COMMIT).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::UnknownVm);
    pair.source.settle(&vm, ABORT).await.unwrap();
    assert!(pair.source.runs(&vm));
}

#[tokio::test(start_paused = true)]
async fn one_that_has_started_is_found_so_by_the_next_agent() {
    let mut pair = Pair::new().await;
    let vm = pair.offered().await;
    pair.destination.settle(&vm, COMMIT).await.unwrap();
    pair.destination.kill().await;
    pair.destination.start().await;
    assert!(pair.destination.runs(&vm));
    assert_eq!(pair.destination.stage(&vm).await, Some(MigrationStage::Started));
    pair.source.reaches(&vm, MigrationStage::Gone).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_whose_agent_dies_while_it_sends_keeps_its_guest() {
    for delay_ms in [0, 1, 5, 20, 60, 100, 150, 200, 300] {
        let mut pair = Pair::new().await;
        let vm = pair.running().await;
        pair.destination.host.change(Pair::receive_request(&vm)).await.unwrap();
        let source = &pair.source.host;
        tokio::select! {
            _ = source.change(Pair::send_request(&vm)) => {}
            () = tokio::time::sleep(Duration::from_millis(delay_ms)) => {}
        }
        let offered = pair.source.stage(&vm).await == Some(MigrationStage::Offered);
        pair.source.kill().await;
        pair.source.start().await;
        pair.at_most_one_runs(&vm);
        pair.destination.settle(&vm, ABORT).await.unwrap();
        pair.source.settle(&vm, ABORT).await.unwrap();
        pair.source.host.sleep(30).await;
        assert!(pair.source.runs(&vm), "after {delay_ms} ms, offered: {offered}");
        assert_eq!(pair.source.phase(&vm).await, Some(VmPhase::Running));
        pair.destination.host.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn the_link_or_the_destination_may_go_at_any_time() {
    for (delay_ms, kill, streams) in [
        (0, false, 3),
        (5, true, 3),
        (50, false, 3),
        (100, true, 3),
        (200, false, 3),
        (50, false, 1),
        (100, true, 1),
    ] {
        let mut pair = Pair::over(streams).await;
        let vm = pair.running().await;
        pair.destination.host.change(Pair::receive_request(&vm)).await.unwrap();
        let (sent, ()) = {
            let (source, network) = (&pair.source.host, pair.network.clone());
            tokio::join!(source.change(Pair::send_request(&vm)), async move {
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                network.unplug(DESTINATION);
            })
        };
        if kill {
            pair.destination.kill().await;
        }
        pair.at_most_one_runs(&vm);
        match sent {
            // It was through before.
            Ok(_) => pair.source.settle(&vm, ABORT).await.map(drop).unwrap(),
            Err(fault) => assert!(!fault.message.is_empty()),
        }
        pair.source.host.sleep(30).await;
        assert!(pair.source.runs(&vm), "{delay_ms}");
        if !kill {
            pair.destination.settle(&vm, ABORT).await.unwrap();
            pair.destination.host.assert_clean();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_while_it_is_sent_lets_the_guest_go_on() {
    for (delay_ms, streams) in [(0, 3), (2, 3), (30, 3), (120, 3), (250, 3), (2, 1), (120, 1)] {
        let pair = Pair::over(streams).await;
        let vm = pair.running().await;
        pair.destination.host.change(Pair::receive_request(&vm)).await.unwrap();
        let (sent, told) = tokio::join!(pair.source.host.change(Pair::send_request(&vm)), async {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            pair.source.settle(&vm, ABORT).await
        });
        told.unwrap();
        assert!(
            pair.source.runs(&vm),
            "{delay_ms} {sent:?} {:?}",
            pair.source.host.backend.xen.control.list()
        );
        if let Err(fault) = sent {
            assert_eq!(fault.code, FaultCode::Cancelled, "{fault}");
        }
        pair.destination.settle(&vm, ABORT).await.unwrap();
        pair.destination.host.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_but_the_source_may_send_or_ask() {
    let pair = Pair::new().await;
    let vm = pair.running().await;
    let mut request = Pair::receive_request(&vm);
    if let vmm_proto::v1::Request::ReceiveVm(receive) = &mut request {
        receive.source = "h3".into();
    }
    pair.destination.host.change(request).await.unwrap();
    let fault = pair.source.host.change(Pair::send_request(&vm)).await.unwrap_err();
    assert!(
        fault.message.contains(DESTINATION) || fault.message.contains("no migration"),
        "{fault}"
    );
    assert!(pair.source.runs(&vm));
    pair.destination.settle(&vm, ABORT).await.unwrap();
    pair.destination.host.assert_clean();
    assert_eq!(pair.source.host.name, SOURCE);
}

#[tokio::test(start_paused = true)]
async fn what_has_not_been_shown_to_arrive_whole_does_not_set_out() {
    let pair = Pair::new().await;
    let mut vm = pair.running().await;
    let mut refused = Vec::new();
    vm.spec.disks = vec![pair.destination.host.disk("xvda")];
    refused.push(Pair::receive_request(&vm));
    vm.spec.disks = vec![pair.destination.host.disk("xvdb")];
    refused.push(Pair::receive_request(&vm));
    for request in refused {
        let fault = pair.destination.host.change(request).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::Unsupported, "{fault}");
    }
    pair.destination.host.assert_clean();
    assert!(pair.source.runs(&vm));
}

/// Xen would restore it there all the same, and the guest would break when it uses what is missing.
#[tokio::test(start_paused = true)]
async fn a_destination_whose_processors_can_less_refuses_the_guest_by_what_they_lack() {
    // SSE3 and SSSE3 are bits 0 and 9.
    let can = |cpu_features| SimConfig { cpu_features, ..SimConfig::default() };
    let pair = Pair::of([can(0b11_0000_0001), can(0b1)]).await;
    let vm = pair.running().await;
    let report = pair.source.host.report().await;
    assert_eq!(report.facts.cpu_features.as_deref(), Some("0-301"));
    assert_eq!(report.vms[0].cpu_features.as_deref(), Some("0-301"));
    assert_eq!(pair.destination.host.report().await.facts.cpu_features.as_deref(), Some("0-1"));
    pair.destination.host.change(Pair::receive_request(&vm)).await.unwrap();
    let fault = pair.source.host.change(Pair::send_request(&vm)).await.unwrap_err();
    assert!(fault.message.contains("ssse3"), "{fault}");
    assert!(pair.source.runs(&vm));
    pair.destination.settle(&vm, ABORT).await.unwrap();
    pair.destination.host.assert_clean();

    // The other way nothing is missing, and what it was promised stays what it was.
    let pair = Pair::of([can(0b1), can(0b11_0000_0001)]).await;
    let vm = pair.offered().await;
    pair.destination.settle(&vm, COMMIT).await.unwrap();
    pair.source.settle(&vm, COMMIT).await.unwrap();
    let there = pair.destination.host.report().await;
    assert_eq!(there.vms[0].cpu_features.as_deref(), Some("0-1"));
}

#[tokio::test(start_paused = true)]
async fn one_that_has_ended_since_it_came_is_still_known_to_have_run() {
    let mut pair = Pair::new().await;
    let vm = pair.offered().await;
    pair.destination.settle(&vm, COMMIT).await.unwrap();
    pair.destination.host.sleep(2).await;
    pair.destination.host.shutdown(&vm, 10).await.unwrap();
    pair.destination.kill().await;
    pair.destination.start().await;
    // Its source would go on from old memory if it were told otherwise.
    pair.destination.settle(&vm, COMMIT).await.unwrap();
    let fault = pair.destination.settle(&vm, ABORT).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::Conflict, "{fault}");
    pair.source.reaches(&vm, MigrationStage::Gone).await;
    pair.source.kill().await;
    pair.source.start().await;
    pair.source.settle(&vm, COMMIT).await.unwrap();
    assert!(!pair.source.runs(&vm) && !pair.destination.runs(&vm));
}
