//! PV guests that leave a host whose Xen logs none of what they write.

use vmm_proto::v1::{FaultCode, MigrationVerdict, Reply, Request, SendVm};
use xen_bindings::sim::SimConfig;

use crate::pair::Pair;

#[tokio::test(start_paused = true)]
async fn a_pv_guest_that_nobody_logs_stays_with_the_reason_or_moves_standing_still() {
    let pair = Pair::of([unlogged(), SimConfig::default()]).await;
    assert_eq!(pair.source.host.report().await.facts.logs_pv, Some(false));
    assert_eq!(pair.destination.host.report().await.facts.logs_pv, Some(true));
    let vm = pair.running_pv().await;
    pair.destination.host.change(Pair::receive_request(&vm)).await.unwrap();
    // The destination knows only that nothing more came: that is not what is told.
    let fault = pair.source.host.change(Pair::send_request(&vm)).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::HostFailed, "{fault}");
    assert!(fault.message.contains("no shadow paging"), "{fault}");
    assert!(fault.message.contains("where 300 ms are allowed"), "{fault}");
    assert!(pair.source.runs(&vm));
    pair.destination.settle(&vm, MigrationVerdict::Abort).await.unwrap();
    pair.destination.host.assert_clean();

    let pair = Pair::of([unlogged(), SimConfig::default()]).await;
    let vm = pair.running_pv().await;
    pair.destination.host.change(Pair::receive_request(&vm)).await.unwrap();
    let Request::SendVm(send) = Pair::send_request(&vm) else { panic!("a SendVm") };
    let patient = SendVm { downtime_ms_max: 10_000, ..send };
    let sent = pair.source.host.change(Request::SendVm(patient)).await.unwrap();
    let Reply::Offered(offered) = sent else { panic!("{sent:?}") };
    assert_eq!(offered.rounds, 0, "{offered:?}");
    pair.destination.settle(&vm, MigrationVerdict::Commit).await.unwrap();
    pair.source.settle(&vm, MigrationVerdict::Commit).await.unwrap();
    assert!(!pair.source.runs(&vm) && pair.destination.runs(&vm));
    pair.source.host.assert_clean();
}

fn unlogged() -> SimConfig {
    SimConfig { shadow: false, ..SimConfig::default() }
}
