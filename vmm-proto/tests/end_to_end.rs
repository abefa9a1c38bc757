//! Client and server in one process, over streams in memory, with every layer on.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use support::{Echo, Pool, SERVER, list_vms, ping, pong};
use vmm_proto::client::{CallError, CallOptions, Client, Hop};
use vmm_proto::principal::Principal;
use vmm_proto::server::ServerOptions;
use vmm_proto::v1::{CancelTask, Done, FaultCode, Reply, Request};

async fn call(client: &Client, request: Request) -> Result<Reply, CallError> {
    client.call(request, CallOptions::default()).await
}

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_and_the_caller_is_known() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let client = pool.client(pool.issue(&Principal::manager("m")));
    let options = CallOptions {
        deadline: Some(Duration::from_secs(9)),
        idempotency_key: Some("key-1".to_owned()),
    };
    let text = " <Ä & \"quotes\" ]]> 'more' \u{1F980}\r\n\tend ";
    assert_eq!(client.call(ping(text), options).await.unwrap(), pong(text));

    let callers = pool.service.callers.lock().unwrap();
    assert_eq!(callers[0].principal, Principal::manager("m"));
    assert_eq!(callers[0].idempotency_key.as_deref(), Some("key-1"));
    assert_eq!(callers[0].request_id.len(), 32);
    assert!(callers[0].deadline.unwrap() <= Duration::from_secs(9));
}

#[tokio::test(start_paused = true)]
async fn large_calls_pass_and_too_large_ones_say_so() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let client = pool.client(pool.issue(&Principal::manager("m")));
    let large = "x".repeat(200 << 10);
    assert_eq!(call(&client, ping(large.as_str())).await.unwrap(), pong(large));
    let error = call(&client, ping("x".repeat(300 << 10))).await.unwrap_err().to_string();
    assert!(error.contains("send less at once"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_unplugged_server_is_reached_again_when_it_is_back() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let client = pool.client(pool.issue(&Principal::manager("m")));
    call(&client, list_vms()).await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { call(&client, ping("for ever")).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    pool.network.unplug(SERVER);
    let error = call(&client, list_vms()).await.unwrap_err();
    assert!(matches!(error, CallError::Transport { hop: Hop::Connect, .. }), "{error}");
    assert!(waiting.await.unwrap().is_err());
    pool.network.plug_in(SERVER);
    call(&client, list_vms()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn characters_that_xml_cannot_carry_arrive_replaced() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let client = pool.client(pool.issue(&Principal::admin("ann")));
    let reply = call(&client, ping("a\0b\u{1b}[31m\u{ffff}")).await.unwrap();
    assert_eq!(reply, pong("a\u{fffd}b\u{fffd}[31m\u{fffd}"));
}

#[tokio::test(start_paused = true)]
async fn a_fault_names_where_it_happened() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let client = pool.client(pool.issue(&Principal::admin("ann")));
    let CallError::Fault(fault) = call(&client, ping("fault")).await.unwrap_err() else { panic!() };
    assert_eq!((fault.code, fault.hop.as_str()), (FaultCode::BadState, "agent h1"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_fault_and_the_server_goes_on() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let client = pool.client(pool.issue(&Principal::admin("ann")));
    let CallError::Fault(fault) = call(&client, ping("panic")).await.unwrap_err() else { panic!() };
    assert_eq!(fault.code, FaultCode::Internal);
    assert_eq!(call(&client, ping("still there?")).await.unwrap(), pong("still there?"));
}

#[tokio::test(start_paused = true)]
async fn short_calls_do_not_wait_for_long_ones() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let client = pool.client(pool.issue(&Principal::manager("m")));
    let slow = tokio::spawn({
        let client = client.clone();
        async move { call(&client, ping("slow")).await }
    });
    let start = tokio::time::Instant::now();
    for number in 0..100 {
        let text = number.to_string();
        assert_eq!(call(&client, ping(text.as_str())).await.unwrap(), pong(text.as_str()));
    }
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(slow.await.unwrap().unwrap(), Reply::Done(Done {}));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let client = pool.client(pool.issue(&Principal::manager("m")));
    let options = CallOptions { deadline: Some(Duration::from_secs(5)), ..Default::default() };
    let start = tokio::time::Instant::now();
    let error = client.call(ping("for ever"), options).await.unwrap_err();
    assert!(start.elapsed() <= Duration::from_secs(6));
    match error {
        CallError::Deadline { .. } => {}
        CallError::Fault(fault) => assert_eq!(fault.code, FaultCode::TimedOut),
        error => panic!("{error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_server_is_found_again() {
    let pool = Pool::new();
    let credentials = pool.issue(&Principal::agent(SERVER));
    let first = pool.serve(credentials.clone(), pool.options());
    let client = pool.client(pool.issue(&Principal::manager("m")));
    call(&client, list_vms()).await.unwrap();
    first.stop.cancel();
    first.task.await.unwrap().unwrap();
    let _second = pool.serve(credentials, pool.options());
    call(&client, list_vms()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_change_without_a_key_is_not_sent_twice() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let client = pool.client(pool.issue(&Principal::manager("m")));
    call(&client, list_vms()).await.unwrap();
    let network = pool.network.clone();
    let change = Request::CancelTask(CancelTask { task: "t".to_owned() });
    // The stream breaks under the request.
    network.unplug(SERVER);
    network.plug_in(SERVER);
    let before = pool.service.calls.load(Ordering::SeqCst);
    let _ = call(&client, change).await;
    assert!(pool.service.calls.load(Ordering::SeqCst) <= before + 1);
    call(&client, list_vms()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_session_is_renewed_before_it_ends() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let client = pool.client(pool.issue(&Principal::manager("m")));
    for _ in 0..12 {
        call(&client, list_vms()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1000)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_says_so_and_is_asked_again() {
    let pool = Pool::new();
    let options = ServerOptions { request_count_max: 1, ..pool.options() };
    let _server = pool.serve(pool.issue(&Principal::agent(SERVER)), options);
    let client = pool.client(pool.issue(&Principal::manager("m")));
    call(&client, list_vms()).await.unwrap();
    let slow = tokio::spawn({
        let client = client.clone();
        async move { call(&client, ping("for ever")).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    let error = call(&client, list_vms()).await.unwrap_err().to_string();
    assert!(error.contains("busy"), "{error}");
    slow.abort();
}

#[tokio::test(start_paused = true)]
async fn a_stopping_server_finishes_what_is_under_way() {
    let pool = Pool::new();
    let server = pool.serve_as(&Principal::agent(SERVER));
    let client = pool.client(pool.issue(&Principal::manager("m")));
    let slow = tokio::spawn(async move { call(&client, ping("slow")).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.stop.cancel();
    assert_eq!(slow.await.unwrap().unwrap(), Reply::Done(Done {}));
    server.task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stopping_server_does_not_wait_for_ever() {
    let pool = Pool::new();
    let server = pool.serve_as(&Principal::agent(SERVER));
    let client = pool.client(pool.issue(&Principal::manager("m")));
    let endless = tokio::spawn(async move { call(&client, ping("for ever")).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = tokio::time::Instant::now();
    server.stop.cancel();
    server.task.await.unwrap().unwrap();
    assert!(start.elapsed() <= Duration::from_secs(26));
    assert!(endless.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn nobody_at_the_address_is_a_failure_to_connect() {
    let pool = Pool::new();
    let client = pool.client(pool.issue(&Principal::manager("m")));
    let error = call(&client, list_vms()).await.unwrap_err();
    let CallError::Transport { hop, address, .. } = &error else { panic!("{error}") };
    assert_eq!((*hop, address.as_str()), (Hop::Connect, "memory:h1"));
}

#[tokio::test(start_paused = true)]
async fn credentials_of_another_authority_are_refused_by_the_client() {
    let (pool, other) = (Pool::new(), Pool::new());
    let foreign = other.issue(&Principal::agent(SERVER));
    let _server = pool.serve(foreign, pool.options());
    let client = pool.client(pool.issue(&Principal::manager("m")));
    let error = call(&client, list_vms()).await.unwrap_err().to_string();
    assert!(error.contains("xvmp://smps-vmm/agent/h1"), "{error}");
    assert!(error.contains("same authority"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn credentials_of_another_authority_are_refused_by_the_server() {
    let (pool, other) = (Pool::new(), Pool::new());
    let _server = pool.serve_as(&Principal::agent(SERVER));
    // Trusts the pool, but its own certificate is of another one.
    let mixed = {
        let directory = tempfile::tempdir().unwrap();
        other.issue(&Principal::manager("m")).save(directory.path()).unwrap();
        pool.authority.save(directory.path()).unwrap();
        Arc::new(vmm_proto::credentials::Credentials::load(directory.path()).unwrap())
    };
    let error = call(&pool.client(mixed), list_vms()).await.unwrap_err();
    let CallError::Transport { hop: Hop::Session, reason, .. } = &error else { panic!("{error}") };
    assert!(reason.contains("refused our certificate"), "{reason}");
    assert_eq!(pool.service.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn another_host_at_the_address_is_refused() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent("h2"));
    let client = pool.client(pool.issue(&Principal::manager("m")));
    let error = call(&client, list_vms()).await.unwrap_err().to_string();
    assert!(error.contains("expected xvmp://smps-vmm/agent/h1"), "{error}");
    assert!(error.contains("xvmp://smps-vmm/agent/h2 answered"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_is_refused() {
    let pool = Pool::new();
    let old = pool.issue(&Principal::agent(SERVER));
    tokio::time::sleep(Duration::from_secs(31 * 86_400)).await;
    let _server = pool.serve(old, pool.options());
    let client = pool.client(pool.issue(&Principal::manager("m")));
    let error = call(&client, list_vms()).await.unwrap_err().to_string();
    assert!(error.contains("xpired"), "{error}");
}

#[tokio::test]
async fn the_same_works_over_tcp() {
    let pool = Pool::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = tokio_util::sync::CancellationToken::new();
    let server = vmm_proto::server::Server::new(
        pool.issue(&Principal::agent(SERVER)),
        Arc::new(Echo::default()),
        pool.options(),
    );
    let listener = vmm_proto::server::TcpListenerAdapter(listener);
    let task = tokio::spawn(server.serve(listener, stop.clone()));
    let connector = Arc::new(vmm_proto::client::TcpConnector::new(address));
    let client = pool.client_over(pool.issue(&Principal::admin("ann")), connector);
    assert_eq!(call(&client, ping("over TCP")).await.unwrap(), pong("over TCP"));
    drop(client);
    stop.cancel();
    task.await.unwrap().unwrap();
}
