//! The agent behind both layers of the protocol.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vmm_proto::client::{CallError, CallOptions, Client, ClientOptions};
use vmm_proto::clock::{TokioClock, WallClock};
use vmm_proto::credentials::CertificateAuthority;
use vmm_proto::principal::Principal;
use vmm_proto::server::{Server, ServerOptions};
use vmm_proto::transport::memory::MemoryNetwork;
use vmm_proto::v1::{FaultCode, Reply, Request};

use crate::host::Host;

#[tokio::test(start_paused = true)]
async fn the_manager_builds_a_vm_over_the_wire_and_a_user_cannot() {
    let host = Host::new().await;
    let vm = host.vm(1);
    let date = Duration::from_secs(1_800_000_000);
    let clock: Arc<dyn WallClock> = Arc::new(TokioClock::starting_at(date));
    let authority = CertificateAuthority::create(date).unwrap();
    let issue = |principal: Principal| Arc::new(authority.issue(&principal, date).unwrap());
    let network = MemoryNetwork::new();
    let stop = CancellationToken::new();
    let server = Server::new(
        issue(Principal::agent("h1")),
        host.agent().clone(),
        ServerOptions::new(clock.clone()),
    );
    let serving = tokio::spawn(server.serve(network.listener("h1"), stop.clone()));
    for (who, allowed) in [(Principal::manager("m"), true), (Principal::admin("ann"), false)] {
        let client = Client::new(
            issue(who),
            Principal::agent("h1"),
            Arc::new(network.connector("h1")),
            ClientOptions::new(clock.clone()),
        );
        let options = CallOptions { idempotency_key: Some("k".into()), ..CallOptions::default() };
        match client.call(Host::build_request(&vm), options).await {
            Ok(reply) => assert!(allowed && matches!(reply, Reply::Done(_))),
            Err(CallError::Fault(fault)) => {
                assert!(!allowed && fault.code == FaultCode::Denied, "{fault}");
                assert_eq!(fault.hop, "agent h1");
            }
            Err(error) => panic!("{error}"),
        }
        let report = Request::AwaitReport(vmm_proto::v1::AwaitReport::default());
        assert_eq!(client.call(report, CallOptions::default()).await.is_ok(), allowed);
    }
    stop.cancel();
    serving.await.unwrap().unwrap();
}
