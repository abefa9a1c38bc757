//! Two simulated hosts whose agents reach each other over both layers of the protocol, and a manager that tells both.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vmm_agent::{Agent, Peers};
use vmm_core::id::VmId;
use vmm_proto::aead::Backend as Seal;
use vmm_proto::bulk::BulkService;
use vmm_proto::client::Connector;
use vmm_proto::clock::{TokioClock, WallClock};
use vmm_proto::credentials::{CertificateAuthority, Credentials};
use vmm_proto::principal::Principal;
use vmm_proto::server::{Server, ServerOptions};
use vmm_proto::transport::memory::MemoryNetwork;
use vmm_proto::v1::{
    AwaitMigration, Fault, MigrationStage, MigrationState, MigrationVerdict, ReceiveVm, Reply,
    Request, SendVm, SettleMigration, VmPhase,
};
use xen_bindings::sim::{MemoryWriter, SimConfig};
use xen_bindings::{DomId, StorePath};

use crate::host::{Host, TestVm};
use crate::shears::Shears;

/// Names of the hosts, and their addresses.
pub(crate) const SOURCE: &str = "h1";
pub(crate) const DESTINATION: &str = "h2";
/// The migration that most tests are about.
pub(crate) const MIGRATION: &str = "00112233445566778899aabbccddeeff";
/// Connections that a VM moves over, where a test says nothing else.
const STREAMS: u8 = 3;
const EPOCH: Duration = Duration::from_secs(1_800_000_000);

/// One host, and its agent's listener.
pub(crate) struct Node {
    pub(crate) host: Host,
    /// Cut what it has connected.
    pub(crate) shears: Shears,
    credentials: Arc<Credentials>,
    clock: Arc<dyn WallClock>,
    network: MemoryNetwork,
    serving: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Node {
    async fn new(
        name: &'static str,
        authority: &CertificateAuthority,
        clock: &Arc<dyn WallClock>,
        network: &MemoryNetwork,
        (machine, streams): (SimConfig, u8),
    ) -> Self {
        let credentials = Arc::new(authority.issue(&Principal::agent(name), EPOCH).unwrap());
        let mut host = Host::with(machine).await;
        let (dial, shears) = (network.clone(), Shears::default());
        let cut = shears.clone();
        (host.name, host.streams) = (name, streams);
        host.peers = Some(Peers {
            credentials: credentials.clone().into(),
            clock: clock.clone(),
            dial: Arc::new(move |address| {
                Arc::new(cut.around(dial.connector(address))) as Arc<dyn Connector>
            }),
            seal: Seal::Fast,
        });
        host.kill_agent().await;
        let (clock, network) = (clock.clone(), network.clone());
        let mut node = Self { host, shears, credentials, clock, network, serving: None };
        node.start().await;
        node
    }

    /// Starts agent and listener.
    pub(crate) async fn start(&mut self) {
        self.host.start_agent().await;
        let agent: Arc<Agent> = self.host.agent().clone();
        let bulk: Arc<dyn BulkService> = agent.clone();
        let options = ServerOptions { bulk: Some(bulk), ..ServerOptions::new(self.clock.clone()) };
        let server = Server::new(self.credentials.clone(), agent, options);
        let stop = CancellationToken::new();
        let (listener, token) = (self.network.listener(self.host.name), stop.clone());
        let serving = tokio::spawn(async move {
            let _ = server.serve(listener, token).await;
        });
        self.serving = Some((stop, serving));
    }

    /// As SIGKILL would: agent and connections are gone.
    pub(crate) async fn kill(&mut self) {
        self.network.unplug(self.host.name);
        if let Some((stop, serving)) = self.serving.take() {
            stop.cancel();
            serving.abort();
        }
        self.host.kill_agent().await;
    }

    /// How far its agent is with the migration.
    pub(crate) async fn stage(&self, vm: &TestVm) -> Option<MigrationStage> {
        self.state(vm, 0, false).await.map(|state| state.stage)
    }

    /// What its agent says of the migration, and of the guest's devices if that is asked for.
    pub(crate) async fn state(
        &self,
        vm: &TestVm,
        wait_ms_max: u64,
        devices: bool,
    ) -> Option<MigrationState> {
        let (vm, migration) = (vm.id.clone(), MIGRATION.into());
        let request = AwaitMigration { vm, migration, wait_ms_max, devices };
        match self.host.change(Request::AwaitMigration(request)).await {
            Ok(Reply::MigrationState(state)) => Some(state),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        }
    }

    /// Waits until its agent is there.
    pub(crate) async fn reaches(&self, vm: &TestVm, stage: MigrationStage) {
        for _ in 0..10_000 {
            if self.stage(vm).await == Some(stage) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?} and not {stage:?}", self.stage(vm).await);
    }

    pub(crate) async fn settle(
        &self,
        vm: &TestVm,
        verdict: MigrationVerdict,
    ) -> Result<Reply, Fault> {
        let request = SettleMigration { vm: vm.id.clone(), migration: MIGRATION.into(), verdict };
        self.host.change(Request::SettleMigration(request)).await
    }

    /// Does a domain of the VM run here? What is paused or suspended does not.
    pub(crate) fn runs(&self, vm: &TestVm) -> bool {
        let id: VmId = vm.id.parse().unwrap();
        let domains = self.host.backend.xen.control.list().unwrap();
        domains.iter().any(|domain| {
            domain.handle.0 == id.bytes()
                && !domain.paused
                && matches!(
                    domain.state,
                    xen_bindings::RunState::Running | xen_bindings::RunState::Blocked
                )
        })
    }

    /// Its domain here.
    pub(crate) fn domid(&self, vm: &TestVm) -> DomId {
        let id: VmId = vm.id.parse().unwrap();
        let domains = self.host.backend.xen.control.list().unwrap();
        domains.iter().find(|domain| domain.handle.0 == id.bytes()).expect("it is here").domid
    }

    /// What its domain holds here.
    pub(crate) fn held_kib(&self, vm: &TestVm) -> u64 {
        let info = self.host.backend.xen.control.info(self.domid(vm)).unwrap();
        info.expect("it is here").pages.kib()
    }

    /// Waits until its guest holds so much, but for what no balloon gets back. An agent that has just begun gives little by little.
    pub(crate) async fn has_again(&self, vm: &TestVm, kib: u64) {
        for _ in 0..300 {
            if self.held_kib(vm) + 2048 >= kib {
                return;
            }
            self.host.sleep(1).await;
        }
        panic!("{} of {kib} KiB", self.held_kib(vm));
    }

    /// The VM's phase; `None` when the agent does not know it.
    pub(crate) async fn phase(&self, vm: &TestVm) -> Option<VmPhase> {
        let report = self.host.report().await;
        report.vms.into_iter().find(|reported| reported.vm == vm.id).map(|reported| reported.phase)
    }
}

/// Two hosts.
pub(crate) struct Pair {
    pub(crate) source: Node,
    pub(crate) destination: Node,
    pub(crate) network: MemoryNetwork,
}

impl Pair {
    pub(crate) async fn new() -> Self {
        Self::of([SimConfig::default(), SimConfig::default()]).await
    }

    /// Of these machines.
    pub(crate) async fn of(machines: [SimConfig; 2]) -> Self {
        Self::with(machines, STREAMS).await
    }

    /// Between which a VM goes over so many streams.
    pub(crate) async fn over(streams: u8) -> Self {
        Self::with([SimConfig::default(), SimConfig::default()], streams).await
    }

    async fn with([from, to]: [SimConfig; 2], streams: u8) -> Self {
        let clock: Arc<dyn WallClock> = Arc::new(TokioClock::starting_at(EPOCH));
        let authority = CertificateAuthority::create(EPOCH).unwrap();
        let network = MemoryNetwork::new();
        let source = Node::new(SOURCE, &authority, &clock, &network, (from, streams)).await;
        let destination = Node::new(DESTINATION, &authority, &clock, &network, (to, streams)).await;
        Self { source, destination, network }
    }

    /// Both agents know the source's directory as one that they share.
    pub(crate) async fn sharing() -> Self {
        let mut pair = Self::new().await;
        let store = pair.source.host.dir.path().to_owned();
        for node in [&mut pair.source, &mut pair.destination] {
            node.kill().await;
            node.host.shared = vec![store.clone()];
            node.start().await;
        }
        pair
    }

    /// A VM with a disk that it writes to, which runs on the source.
    pub(crate) async fn writing(&self) -> TestVm {
        let mut vm = self.source.host.vm(1);
        vm.spec.memory_kib = 32 << 10;
        vm.spec.memory_max_kib = 32 << 10;
        self.source.host.build(&vm).await.unwrap();
        self.source.host.sleep(5).await;
        vm
    }

    /// A VM without disks that runs on the source.
    pub(crate) async fn running(&self) -> TestVm {
        self.running_with(32 << 10).await
    }

    /// As [`Self::running`], with a NIC.
    pub(crate) async fn networked(&self) -> TestVm {
        let mut vm = self.source.host.vm(7);
        vm.spec.disks.clear();
        vm.spec.nics = vec![Host::nic(0, "br0")];
        vm.spec.cmdline = "console=hvc0 workload=net:1".into();
        (vm.spec.memory_kib, vm.spec.memory_max_kib) = (32 << 10, 32 << 10);
        self.source.host.build(&vm).await.unwrap();
        self.source.host.sleep(2).await;
        vm
    }

    /// As [`Self::running`], and a PV guest that writes to its memory.
    pub(crate) async fn running_pv(&self) -> TestVm {
        let mut vm = self.source.host.vm(7);
        vm.spec.kind = vmm_proto::v1::GuestKind::Pv;
        vm.spec.disks.clear();
        (vm.spec.memory_kib, vm.spec.memory_max_kib) = (48 << 10, 48 << 10);
        self.source.host.build(&vm).await.unwrap();
        self.source.host.sleep(2).await;
        let writers = [MemoryWriter::idle(), MemoryWriter::hot_set(200, 2000)];
        self.source.host.machine.set_memory_writers(self.source.domid(&vm), &writers);
        vm
    }

    /// As [`Self::running`]: a guest that says that most of its memory is free, and may be made smaller.
    pub(crate) async fn with_free_memory(&self) -> TestVm {
        let vm = self.running_with(192 << 10).await;
        let told = StorePath::domain(self.source.domid(&vm)).join("data/meminfo_free").unwrap();
        self.source.host.backend.xen.store.write(&told, b"163840").unwrap();
        vm
    }

    async fn running_with(&self, memory_kib: u64) -> TestVm {
        let mut vm = self.source.host.vm(7);
        vm.spec.disks.clear();
        vm.spec.memory_kib = memory_kib;
        vm.spec.memory_max_kib = memory_kib;
        // What it may be made smaller to.
        vm.spec.memory_min_kib = Some((memory_kib / 3).max(32 << 10));
        self.source.host.build(&vm).await.unwrap();
        self.source.host.sleep(2).await;
        vm
    }

    pub(crate) fn receive_request(vm: &TestVm) -> Request {
        Request::ReceiveVm(ReceiveVm {
            vm: vm.id.clone(),
            migration: MIGRATION.into(),
            source: SOURCE.into(),
            memory_kib: vm.spec.memory_kib,
            vcpus_online: vm.spec.vcpus,
            spec: vm.spec.clone(),
        })
    }

    pub(crate) fn send_request(vm: &TestVm) -> Request {
        Request::SendVm(SendVm {
            vm: vm.id.clone(),
            migration: MIGRATION.into(),
            destination: DESTINATION.into(),
            address: DESTINATION.into(),
            deadline_ms: 600_000,
            downtime_ms_max: 300,
            slowdown_ms_max: None,
            bandwidth_bytes_per_s: None,
        })
    }

    /// Over a link that is slower than a balloon.
    pub(crate) fn send_slowly_request(vm: &TestVm) -> Request {
        match Self::send_request(vm) {
            Request::SendVm(send) => {
                Request::SendVm(SendVm { bandwidth_bytes_per_s: Some(20_000_000), ..send })
            }
            other => other,
        }
    }

    /// Up to the point where the destination has all of it.
    pub(crate) async fn offered(&self) -> TestVm {
        let vm = self.running().await;
        self.destination.host.change(Self::receive_request(&vm)).await.unwrap();
        let sent = self.source.host.change(Self::send_request(&vm)).await.unwrap();
        assert!(matches!(sent, Reply::Offered(_)), "{sent:?}");
        vm
    }

    /// MIG1, as it is right now.
    pub(crate) fn at_most_one_runs(&self, vm: &TestVm) {
        assert!(
            !(self.source.runs(vm) && self.destination.runs(vm)),
            "MIG1: it runs on both hosts"
        );
    }
}
