//! A manager and scripted agents with the whole protocol between them, in memory, on a paused clock.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_util::sync::CancellationToken;
use vmm_proto::client::{CallOptions, Client, ClientOptions, Connector};
use vmm_proto::clock::{TokioClock, WallClock};
use vmm_proto::credentials::{CertificateAuthority, Credentials, LiveCredentials, lifetime};
use vmm_proto::enrolment::{JoinError, JoinToken, join};
use vmm_proto::principal::{Principal, Role};
use vmm_proto::server::{Caller, Server, ServerOptions, Service};
use vmm_proto::transport::memory::MemoryNetwork;
use vmm_proto::v1::{self, Fault, FaultCode, Reply, Request};

use super::{FakeAgents, spec};
use crate::agents::{AgentAddress, AgentCall, AgentCalls as _, AgentError, BoxFuture};
use crate::enrolment::{Enrolment, Invitations};
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

    fn options(&self) -> ServerOptions {
        ServerOptions::new(Arc::clone(&self.clock))
    }

    fn serve(&self, name: &str, principal: &Principal, service: Arc<dyn Service>) {
        self.serve_with(name, self.issue(principal).into(), service, self.options());
    }

    fn serve_with(
        &self,
        name: &str,
        credentials: LiveCredentials,
        service: Arc<dyn Service>,
        options: ServerOptions,
    ) {
        let server = Server::new(credentials, service, options);
        tokio::spawn(server.serve(self.network.listener(name), self.stop.clone()));
    }

    fn manager(&self) -> impl Future<Output = Arc<Manager>> {
        self.manager_with(self.issue(&Principal::manager(MANAGER_ID)).into(), None)
    }

    fn manager_with(
        &self,
        credentials: LiveCredentials,
        enrolment: Option<Enrolment>,
    ) -> impl Future<Output = Arc<Manager>> {
        let network = self.network.clone();
        let env = Env {
            random: Arc::new(super::pool::counter()),
            clock: Arc::clone(&self.clock),
            dial: Arc::new(move |address: &str| {
                Arc::new(network.connector(address)) as Arc<dyn Connector>
            }),
        };
        let store = StoreLocation::Memory(MemoryStore::default());
        async {
            Manager::open(ManagerConfig::default(), store, credentials, enrolment, env)
                .await
                .expect("opens")
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
    let add = v1::AddHost { name: "h1".into(), address: "h1:1".into(), pool: None };
    call(Request::AddHost(add), "add").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let create = v1::CreateVm { spec: spec("web"), ..v1::CreateVm::default() };
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

/// A date that goes on with the paused clock, and can be put forward: days in which nobody speaks.
#[derive(Debug, Default)]
struct JumpingClock(std::sync::Mutex<Option<(tokio::time::Instant, Duration)>>);

impl JumpingClock {
    fn jump(&self, by: Duration) {
        self.with(|shift| *shift += by);
    }

    fn with<T>(&self, look: impl FnOnce(&mut Duration) -> T) -> (T, Duration) {
        let mut state = self.0.lock().expect("no panic under the lock");
        let (start, shift) = state.get_or_insert_with(|| (tokio::time::Instant::now(), START));
        (look(shift), start.elapsed())
    }
}

impl WallClock for JumpingClock {
    fn now(&self) -> Duration {
        let (shift, elapsed) = self.with(|shift| *shift);
        shift + elapsed
    }
}

/// A manager that admits and renews, and an agent that joined by a token.
struct Town {
    wire: Wire,
    clock: Arc<JumpingClock>,
    files: tempfile::TempDir,
    own: LiveCredentials,
}

impl Town {
    async fn new(agents: &FakeAgents) -> Self {
        let (mut wire, files) = (Wire::new(), tempfile::tempdir().expect("a directory"));
        let clock = Arc::new(JumpingClock::default());
        wire.clock = clock.clone();
        wire.authority.save(files.path()).expect("saved");
        let authority = CertificateAuthority::load(files.path()).expect("loaded");
        let own = LiveCredentials::from(wire.issue(&Principal::manager(MANAGER_ID)));
        let town = Self { wire, clock, files, own };
        let enrolment = Enrolment::new(authority, Some(town.invitations()));
        let manager = town.wire.manager_with(town.own.clone(), Some(enrolment)).await;
        let mut options = town.wire.options();
        options.registrar = Some(manager.clone());
        town.wire.serve_with("manager:1", town.own.clone(), manager.clone(), options);
        tokio::spawn(manager.run(town.wire.stop.clone()));
        super::pool::equip(agents, "h1");
        town
    }

    fn invitations(&self) -> Invitations {
        Invitations::of(self.files.path().join("invitations"))
    }

    fn invite(&self, principal: &Principal) -> JoinToken {
        let token = JoinToken::generate(self.wire.authority.certificate()).expect("a token");
        let expires = self.wire.clock.now() + Duration::from_secs(3600);
        self.invitations().add(&token, principal, expires).expect("invited");
        token
    }

    async fn join(&self, token: &JoinToken, address: &str) -> Result<LiveCredentials, JoinError> {
        let connector = self.wire.network.connector("manager:1");
        let path = self.files.path().join(address);
        join(&connector, token, &path, Some(address), Arc::clone(&self.wire.clock)).await?;
        Ok(LiveCredentials::load(&path).expect("joined"))
    }

    async fn hosts(&self) -> Vec<v1::Host> {
        let client = Client::new(
            Arc::new(
                self.wire
                    .authority
                    .issue(&Principal::viewer("v"), self.wire.clock.now())
                    .expect("issued"),
            ),
            Principal::manager(MANAGER_ID),
            Arc::new(self.wire.network.connector("manager:1")),
            ClientOptions::new(Arc::clone(&self.wire.clock)),
        );
        let list = Request::ListHosts(v1::ListHosts::default());
        match client.call(list, CallOptions::default()).await.expect("a reply") {
            Reply::Hosts(hosts) => hosts.hosts,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_joined_is_in_the_pool_and_stays_for_weeks_by_itself() {
    let agents = FakeAgents::new();
    let town = Town::new(&agents).await;
    let token = town.invite(&Principal::agent("h1"));
    let host = town.join(&token, "h1:1").await.expect("joined");
    let service = Arc::new(Served { agents: agents.clone(), name: "h1".into() });
    town.wire.serve_with("h1:1", host.clone(), service, town.wire.options());
    let first = (host.current().not_after(), town.own.current().not_after());
    // Each certificate ends twice meanwhile, and nobody is lost at any look.
    for _ in 0..7 {
        town.clock.jump(Duration::from_secs(60 * 3600));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let hosts = town.hosts().await;
        assert!(matches!(hosts.as_slice(), [h1] if h1.health == v1::HostHealth::Up), "{hosts:?}");
    }
    let two_weeks = lifetime(Role::Agent) * 2;
    assert!(host.current().not_after() > first.0 + two_weeks);
    assert!(town.own.current().not_after() > first.1 + two_weeks);
}

#[tokio::test(start_paused = true)]
async fn a_token_gives_one_host_one_place() {
    let agents = FakeAgents::new();
    let town = Town::new(&agents).await;
    let token = town.invite(&Principal::agent("h1"));
    town.join(&token, "h1:1").await.expect("joined");
    town.join(&token, "h1:1").await.expect_err("its keys are not kept any more");
    let fault = |outcome| match outcome {
        Err(JoinError::Fault(fault)) => fault,
        other => panic!("{other:?}"),
    };
    let taken = fault(town.join(&token, "h2:1").await);
    assert_eq!(taken.code, FaultCode::Denied, "{taken}");
    // The same name from elsewhere: the first one must go first.
    let again = town.invite(&Principal::agent("h1"));
    let conflict = fault(town.join(&again, "h3:1").await);
    assert_eq!(conflict.code, FaultCode::Conflict, "{conflict}");
    let again = town.invite(&Principal::agent("h1"));
    town.join(&again, "h1:1").await.expect("the host was installed anew");
    assert_eq!(town.hosts().await.len(), 1);
    tokio::time::sleep(Duration::from_secs(3601)).await;
    let late = town.invite(&Principal::agent("h9"));
    tokio::time::sleep(Duration::from_secs(3601)).await;
    assert!(matches!(town.join(&late, "h9:1").await, Err(JoinError::Refused)));
}

#[tokio::test(start_paused = true)]
async fn a_user_has_new_keys_signed_for_himself_only() {
    let town = Town::new(&FakeAgents::new()).await;
    let client = Client::new(
        town.wire.issue(&Principal::viewer("ann")),
        Principal::manager(MANAGER_ID),
        Arc::new(town.wire.network.connector("manager:1")),
        ClientOptions::new(Arc::clone(&town.wire.clock)),
    );
    let keys = vmm_proto::credentials::NewKeys::generate().expect("keys");
    let request = |der: &[u8]| {
        let signing_request = STANDARD.encode(der);
        Request::RenewCertificate(v1::RenewCertificate { signing_request })
    };
    let der = keys.signing_request().expect("a request");
    let reply = client.call(request(&der), CallOptions::default()).await.expect("signed");
    let Reply::Certificate(signed) = reply else { panic!("{reply:?}") };
    let [certificate, authority] =
        [signed.certificate, signed.authority].map(|text| STANDARD.decode(text).expect("base64"));
    let new = keys.with(certificate.into(), authority.into()).expect("for these keys");
    assert_eq!(new.principal(), &Principal::viewer("ann"));
    let mut changed = der.clone();
    changed[40] ^= 1;
    let refused = client.call(request(&changed), CallOptions::default()).await.unwrap_err();
    assert!(refused.to_string().contains("signing request is refused"), "{refused}");
}
