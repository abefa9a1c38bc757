//! A manager and scripted agents with the whole protocol between them, in memory, on a paused clock.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vmm_proto::client::{CallOptions, Client, ClientOptions, Connector};
use vmm_proto::clock::{TokioClock, WallClock};
use vmm_proto::credentials::{CertificateAuthority, Credentials};
use vmm_proto::principal::Principal;
use vmm_proto::server::{Caller, Server, ServerOptions, Service};
use vmm_proto::transport::memory::MemoryNetwork;
use vmm_proto::v1::{self, Fault, FaultCode, Reply, Request};

use super::{FakeAgents, spec};
use crate::agents::{AgentAddress, AgentCall, AgentCalls as _, AgentError, BoxFuture};
use crate::{Env, MANAGER_ID, Manager, ManagerConfig, MemoryStore, StoreLocation};

const START: Duration = Duration::from_secs(1_800_000_000);

/// One scripted agent behind a real server.
struct Served {
    agents: FakeAgents,
    name: String,
}

impl Service for Served {
    fn call(&self, caller: Caller, request: Request) -> BoxFuture<'_, Result<Reply, Fault>> {
        assert_eq!(caller.principal, Principal::manager(MANAGER_ID));
        let agent = AgentAddress { host: self.name.clone(), address: String::new() };
        let deadline = caller.deadline.unwrap_or(Duration::from_secs(600));
        let call = AgentCall { request, deadline, key: caller.idempotency_key };
        Box::pin(async move {
            self.agents.call(agent, call).await.map_err(|error| match error {
                AgentError::Fault(fault) => fault,
                AgentError::NoReply(why) => Fault::new(FaultCode::Internal, why),
            })
        })
    }
}

struct Wire {
    network: MemoryNetwork,
    authority: CertificateAuthority,
    clock: Arc<dyn WallClock>,
    stop: CancellationToken,
}

impl Wire {
    fn new() -> Self {
        let clock: Arc<dyn WallClock> = Arc::new(TokioClock::starting_at(START));
        let authority = CertificateAuthority::create(START).expect("an authority");
        Self { network: MemoryNetwork::default(), authority, clock, stop: CancellationToken::new() }
    }

    fn issue(&self, principal: &Principal) -> Arc<Credentials> {
        Arc::new(self.authority.issue(principal, START).expect("issued"))
    }

    fn serve(&self, name: &str, principal: &Principal, service: Arc<dyn Service>) {
        let options = ServerOptions::new(Arc::clone(&self.clock));
        let server = Server::new(self.issue(principal), service, options);
        tokio::spawn(server.serve(self.network.listener(name), self.stop.clone()));
    }

    fn manager(&self) -> impl Future<Output = Arc<Manager>> {
        let network = self.network.clone();
        let env = Env {
            random: Arc::new(super::pool::counter()),
            clock: Arc::clone(&self.clock),
            dial: Arc::new(move |address: &str| {
                Arc::new(network.connector(address)) as Arc<dyn Connector>
            }),
        };
        let credentials = self.issue(&Principal::manager(MANAGER_ID));
        let store = StoreLocation::Memory(MemoryStore::default());
        async {
            Manager::open(ManagerConfig::default(), store, credentials, env).await.expect("opens")
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_vm_is_created_over_the_whole_protocol() {
    let (wire, agents) = (Wire::new(), FakeAgents::new());
    super::pool::equip(&agents, "h1");
    let service = Arc::new(Served { agents: agents.clone(), name: "h1".into() });
    wire.serve("h1:1", &Principal::agent("h1"), service);
    let manager = wire.manager().await;
    wire.serve("manager:1", &Principal::manager(MANAGER_ID), Arc::clone(&manager) as _);
    let running = tokio::spawn(manager.run(wire.stop.clone()));

    let user = Client::new(
        wire.issue(&Principal::admin("ann")),
        Principal::manager(MANAGER_ID),
        Arc::new(wire.network.connector("manager:1")),
        ClientOptions::new(Arc::clone(&wire.clock)),
    );
    let call = async |request, key: &str| {
        let options = CallOptions { deadline: None, idempotency_key: Some(key.to_owned()) };
        user.call(request, options).await.expect("a reply")
    };
    let add = v1::AddHost { name: "h1".into(), address: "h1:1".into() };
    call(Request::AddHost(add), "add").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let create = v1::CreateVm { dry_run: false, spec: spec("web") };
    let Reply::Task(task) = call(Request::CreateVm(create), "create").await else {
        panic!("a task");
    };
    let wait = v1::WaitTask { task: task.task.clone(), wait_ms_max: 10_000 };
    let Reply::Task(task) = call(Request::WaitTask(wait), "wait").await else { panic!("a task") };
    assert_eq!(task.state, v1::TaskState::Done, "{task:?}");
    assert_eq!(agents.running_on(&task.vm), ["h1"]);
    wire.stop.cancel();
    running.await.expect("no panic");
}
