//! A VM that moves over several connections: one of them cut, and streams that are none of its own.

use std::time::Duration;

use vmm_proto::aead::Backend as Seal;
use vmm_proto::bulk::{BulkError, BulkSender, StreamName};
use vmm_proto::client::{Client, ClientOptions};
use vmm_proto::principal::Principal;
use vmm_proto::v1::{AwaitMigration, FaultCode, MigrationStage, MigrationVerdict, Reply, Request};

use crate::host::TestVm;
use crate::pair::{DESTINATION, MIGRATION, Pair};

const ABORT: MigrationVerdict = MigrationVerdict::Abort;

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_cut_ends_the_move_and_the_guest_goes_on() {
    const STREAMS: u8 = 3;
    for lane in 0..usize::from(STREAMS) {
        for delay_ms in [0, 1, 40] {
            let pair = Pair::over(STREAMS).await;
            let vm = pair.running().await;
            pair.destination.host.change(Pair::receive_request(&vm)).await.unwrap();
            let cutting = async {
                // The session's connection comes before those of the lanes.
                while pair.source.shears.made() <= usize::from(STREAMS) {
                    tokio::task::yield_now().await;
                }
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                pair.source.shears.cut(1 + lane);
            };
            let sending = pair.source.host.change(Pair::send_slowly_request(&vm));
            let (sent, ()) = tokio::join!(sending, cutting);
            let what = format!("lane {lane} after {delay_ms} ms");
            let fault = sent.expect_err(&what);
            assert!(fault.message.contains("broke"), "{what}: {fault}");
            assert!(pair.source.runs(&vm), "{what}");
            pair.at_most_one_runs(&vm);
            pair.destination.reaches(&vm, MigrationStage::Discarded).await;
            pair.destination.host.assert_clean();
            pair.source.settle(&vm, ABORT).await.unwrap();
            assert!(pair.source.runs(&vm), "{what}");
        }
    }
}

/// As the source's agent would open it.
async fn stream(pair: &Pair, number: u32) -> Result<BulkSender, BulkError> {
    let peers = pair.source.host.peers.clone().unwrap();
    let client = Client::new(
        peers.credentials.clone(),
        Principal::agent(DESTINATION),
        (peers.dial)(DESTINATION),
        ClientOptions::new(peers.clock.clone()),
    );
    let transfer = u128::from_str_radix(MIGRATION, 16).unwrap().to_be_bytes();
    client.send_stream(StreamName { transfer, number }, Seal::Fast).await
}

/// Why the destination gave it up.
async fn why(pair: &Pair, vm: &TestVm) -> String {
    pair.destination.reaches(vm, MigrationStage::Discarded).await;
    let ask = AwaitMigration {
        vm: vm.id.clone(),
        migration: MIGRATION.into(),
        wait_ms_max: 0,
        devices: false,
    };
    match pair.destination.host.change(Request::AwaitMigration(ask)).await {
        Ok(Reply::MigrationState(state)) => state.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_lane_of_this_release_is_refused_in_words() {
    // A guest's first frame, as an agent sends it that knows no lanes; and a lane of a later version.
    let hello = &b"\x01\0\0\0\x20\0\0\0VMMG\x01\0\0\0"[..];
    let later = &b"VMMLANES\x02\0\x01\0"[..];
    for (bytes, expect) in [(hello, "the same release"), (later, "the same release")] {
        let pair = Pair::new().await;
        let vm = pair.running().await;
        pair.destination.host.change(Pair::receive_request(&vm)).await.unwrap();
        let mut old = stream(&pair, 0).await.unwrap();
        old.send(bytes).await.unwrap();
        old.flush().await.unwrap();
        let why = why(&pair, &vm).await;
        assert!(why.contains(expect), "{why}");
        pair.destination.host.assert_clean();
        assert!(pair.source.runs(&vm));
    }
}

#[tokio::test(start_paused = true)]
async fn lanes_that_do_not_come_or_come_twice_end_it() {
    let first = &b"VMMLANES\x01\0\x02\0"[..];
    for (second, expect) in [(None, "1 of 2 lanes"), (Some(0), "twice"), (Some(9), "no lane")] {
        let pair = Pair::new().await;
        let vm = pair.running().await;
        pair.destination.host.change(Pair::receive_request(&vm)).await.unwrap();
        let mut lane = stream(&pair, 0).await.unwrap();
        lane.send(first).await.unwrap();
        lane.flush().await.unwrap();
        if let Some(number) = second {
            assert!(stream(&pair, number).await.is_err());
        }
        let why = why(&pair, &vm).await;
        assert!(why.contains(expect), "{why}");
        pair.destination.host.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_comes_when_all_are_there_is_refused() {
    let pair = Pair::new().await;
    let vm = pair.offered().await;
    match stream(&pair, 3).await.err() {
        Some(BulkError::Fault(fault)) => assert_eq!(fault.code, FaultCode::Denied, "{fault}"),
        other => panic!("{other:?}"),
    }
    // It changes nothing.
    assert_eq!(pair.destination.stage(&vm).await, Some(MigrationStage::Ready));
    pair.destination.settle(&vm, MigrationVerdict::Commit).await.unwrap();
    pair.source.settle(&vm, MigrationVerdict::Commit).await.unwrap();
    assert!(pair.destination.runs(&vm));
    pair.source.host.assert_clean();
}
