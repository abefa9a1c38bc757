//! A simulated host with an agent on it, for tests.
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use vmm_agent::config::SharedStore;
use vmm_agent::{Agent, AgentConfig, Backend, Blocking, Env, Peers};
use vmm_core::id::VmId;
use vmm_proto::principal::Principal;
use vmm_proto::server::{Caller, Service as _};
use vmm_proto::v1::{self, AgentReport, Fault, Reply, ReportedVm, Request, VmPhase};
use xen_bindings::contract::StoreFlavour;
use xen_bindings::sim::{SimConfig, SimMachine};
use xen_bindings::{DomId, StoreError, StorePath};

/// A machine, its dom0, and where its agent keeps its state.
pub(crate) struct Host {
    pub(crate) machine: SimMachine,
    pub(crate) backend: Backend,
    pub(crate) dir: TempDir,
    agent: Option<Arc<Agent>>,
    changes: AtomicU64,
    /// Of the next agent.
    pub(crate) shells: usize,
    /// Its name.
    pub(crate) name: &'static str,
    /// How it reaches other agents.
    pub(crate) peers: Option<Peers>,
    /// Directories that other hosts have too, of the next agent.
    pub(crate) shared: Vec<PathBuf>,
    /// Connections that a VM leaves over, of the next agent.
    pub(crate) streams: u8,
    _time: DropGuard,
}

/// A VM to be built.
#[derive(Clone)]
pub(crate) struct TestVm {
    pub(crate) id: String,
    pub(crate) spec: v1::Spec,
}

pub(crate) fn env() -> Env {
    let count = AtomicU8::new(1);
    Env {
        blocking: Blocking::Inline,
        random: Arc::new(move || [count.fetch_add(1, Ordering::Relaxed); 16]),
        peers: None,
    }
}

pub(crate) fn manager(key: &str) -> Caller {
    Caller {
        principal: Principal::manager("m"),
        request_id: format!("r-{key}"),
        idempotency_key: Some(key.to_owned()),
        deadline: None,
    }
}

impl Host {
    pub(crate) async fn new() -> Self {
        Self::with(SimConfig::default()).await
    }

    /// One whose xenstore tells dom0's backends nothing when a guest dies: until their nodes are removed, its domain stays.
    pub(crate) async fn with_oxenstored() -> Self {
        Self::with(SimConfig { store: StoreFlavour::Ocaml, ..SimConfig::default() }).await
    }

    pub(crate) async fn with(config: SimConfig) -> Self {
        let origin = Instant::now();
        let machine = SimMachine::new(config, Arc::new(move || origin.elapsed()));
        let stop = CancellationToken::new();
        tokio::spawn(vmm_agent::sim::drive(machine.clone(), stop.clone()));
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("kernel"), b"SIMKERNEL").unwrap();
        std::fs::write(dir.path().join("disk.img"), vec![0; 4096]).unwrap();
        let backend = vmm_agent::sim::backend(&machine);
        let mut host = Self {
            machine,
            backend,
            dir,
            agent: None,
            changes: AtomicU64::new(0),
            shells: 0,
            name: "h1",
            peers: None,
            shared: Vec::new(),
            streams: 2,
            _time: stop.drop_guard(),
        };
        host.start_agent().await;
        host
    }

    pub(crate) async fn start_agent(&mut self) {
        let mut config = AgentConfig::new(self.name, &self.dir.path().join("state")).unwrap();
        config.shells.per_flavour = self.shells;
        config.migration_streams = self.streams;
        let shared = self.shared.iter().cloned();
        config.shared_stores =
            shared.map(|path| SharedStore { name: "san".into(), path }).collect();
        let env = Env { peers: self.peers.clone(), ..env() };
        let agent = Agent::start(config, self.backend.clone(), env).await.unwrap();
        self.agent = Some(agent);
    }

    /// As SIGKILL would.
    pub(crate) async fn kill_agent(&mut self) {
        self.agent = None;
        tokio::task::yield_now().await;
    }

    pub(crate) fn agent(&self) -> &Arc<Agent> {
        self.agent.as_ref().expect("an agent runs")
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub(crate) fn vm(&self, number: u8) -> TestVm {
        let disk =
            v1::Disk { path: self.path("disk.img"), device: "xvda".into(), read_only: number != 1 };
        TestVm {
            id: VmId::from_bytes([number; 16]).to_string(),
            spec: v1::Spec {
                name: format!("vm-{number}"),
                vcpus: 1,
                vcpus_max: 4,
                memory_kib: 128 << 10,
                memory_max_kib: 256 << 10,
                kernel: self.path("kernel"),
                initramfs: None,
                cmdline: "console=hvc0".into(),
                cpu_demand_milli: 100,
                disk_demand_bytes_per_s: 0,
                disks: Vec::from_iter((number == 1).then_some(disk)),
                ..v1::Spec::default()
            },
        }
    }

    pub(crate) async fn call(&self, caller: Caller, request: Request) -> Result<Reply, Fault> {
        self.agent().call(caller, request).await
    }

    /// A change with a key of its own.
    pub(crate) async fn change(&self, request: Request) -> Result<Reply, Fault> {
        let key = format!("key-{}", self.changes.fetch_add(1, Ordering::Relaxed));
        self.call(manager(&key), request).await
    }

    pub(crate) fn build_request(vm: &TestVm) -> Request {
        Request::BuildVm(v1::BuildVm {
            restore_from: None,
            vm: vm.id.clone(),
            spec: vm.spec.clone(),
        })
    }

    pub(crate) async fn build(&self, vm: &TestVm) -> Result<Reply, Fault> {
        self.change(Self::build_request(vm)).await
    }

    pub(crate) async fn destroy(&self, vm: &TestVm) -> Result<Reply, Fault> {
        self.change(Request::DestroyVm(v1::DestroyVm { vm: vm.id.clone() })).await
    }

    pub(crate) async fn shutdown(&self, vm: &TestVm, wait_s: u64) -> Result<Reply, Fault> {
        let request = v1::ShutdownVm { vm: vm.id.clone(), wait_ms_max: wait_s * 1000 };
        self.change(Request::ShutdownVm(request)).await
    }

    pub(crate) async fn reboot(&self, vm: &TestVm, wait_s: u64) -> Result<Reply, Fault> {
        let request = v1::RebootVm { vm: vm.id.clone(), wait_ms_max: wait_s * 1000 };
        self.change(Request::RebootVm(request)).await
    }

    pub(crate) fn disk(&self, device: &str) -> v1::Disk {
        let path = self.path(&format!("{device}.img"));
        std::fs::write(&path, vec![0; 8192]).unwrap();
        v1::Disk { path, device: device.into(), read_only: false }
    }

    pub(crate) fn attach_disk_request(vm: &TestVm, disk: v1::Disk) -> Request {
        Request::AttachDisk(v1::AttachDisk { vm: vm.id.clone(), wait_ms_max: 10_000, disk })
    }

    pub(crate) fn detach_disk_request(vm: &TestVm, device: &str, force: bool) -> Request {
        let (vm, device) = (vm.id.clone(), device.into());
        Request::DetachDisk(v1::DetachDisk { vm, device, wait_ms_max: 10_000, force })
    }

    pub(crate) fn nic(index: u32, bridge: &str) -> v1::Nic {
        v1::Nic { index, mac: format!("00:16:3e:00:00:{index:02x}"), bridge: bridge.into() }
    }

    pub(crate) fn attach_nic_request(vm: &TestVm, nic: v1::Nic) -> Request {
        Request::AttachNic(v1::AttachNic { vm: vm.id.clone(), wait_ms_max: 10_000, nic })
    }

    pub(crate) fn detach_nic_request(vm: &TestVm, index: u32) -> Request {
        let vm = vm.id.clone();
        Request::DetachNic(v1::DetachNic { vm, index, wait_ms_max: 10_000, force: false })
    }

    pub(crate) async fn set_vcpus(&self, vm: &TestVm, vcpus: u32) -> Result<v1::Vcpus, Fault> {
        let request = v1::SetVcpus { vm: vm.id.clone(), vcpus, wait_ms_max: 10_000 };
        match self.change(Request::SetVcpus(request)).await? {
            Reply::Vcpus(vcpus) => Ok(vcpus),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn set_memory(&self, vm: &TestVm, mib: u64) -> Result<v1::Memory, Fault> {
        let request =
            v1::SetMemory { vm: vm.id.clone(), memory_kib: mib << 10, wait_ms_max: 60_000 };
        match self.change(Request::SetMemory(request)).await? {
            Reply::Memory(memory) => Ok(memory),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn stats(&self, vm: &TestVm) -> Result<v1::VmStats, Fault> {
        let request = v1::GetVmStats { vm: vm.id.clone() };
        match self.change(Request::GetVmStats(request)).await? {
            Reply::VmStats(stats) => Ok(stats),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn console(&self, vm: &TestVm) -> String {
        use base64::Engine as _;
        let request = v1::ReadConsole { vm: vm.id.clone(), bytes_max: u32::MAX };
        match self.change(Request::ReadConsole(request)).await.unwrap() {
            Reply::ConsoleText(text) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text.data).unwrap();
                String::from_utf8(bytes).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn await_report(&self, cursor: &str, wait_ms_max: u64) -> AgentReport {
        let request = v1::AwaitReport { cursor: cursor.to_owned(), wait_ms_max };
        match self.change(Request::AwaitReport(request)).await.unwrap() {
            Reply::AgentReport(report) => report,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn report(&self) -> AgentReport {
        self.await_report("", 0).await
    }

    pub(crate) async fn reported(&self, vm: &TestVm) -> ReportedVm {
        let report = self.report().await;
        report.vms.into_iter().find(|r| r.vm == vm.id).expect("the agent knows the VM")
    }

    pub(crate) async fn phase(&self, vm: &TestVm) -> VmPhase {
        self.reported(vm).await.phase
    }

    pub(crate) async fn domid(&self, vm: &TestVm) -> DomId {
        DomId::new(self.reported(vm).await.domid.expect("it has a domain").into()).unwrap()
    }

    /// Waits until so many calls of the machine were made. Time goes by only while nobody is ready to run.
    pub(crate) async fn reached(&self, calls: usize) {
        for round in 0.. {
            if self.machine.recorder().calls().len() >= calls {
                return;
            }
            match round % 8 {
                7 => tokio::time::sleep(Duration::from_millis(1)).await,
                _ => tokio::task::yield_now().await,
            }
        }
    }

    pub(crate) async fn sleep(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// Nothing of any VM is on the host: no domain, no node, no loop device.
    pub(crate) fn assert_clean(&self) {
        let xen = &self.backend.xen;
        let domains: Vec<DomId> =
            xen.control.list().unwrap().into_iter().map(|domain| domain.domid).collect();
        assert_eq!(domains, [DomId::DOM0], "domains are left");
        for (path, expect) in [
            ("/local/domain", &["0"] as &[&str]),
            ("/vm", &[]),
            ("/local/domain/0/backend/vbd", &[]),
            ("/local/domain/0/backend/vif", &[]),
        ] {
            let names = match xen.store.directory(&StorePath::new(path).unwrap()) {
                Err(StoreError::NotFound) => Vec::new(),
                names => names.unwrap(),
            };
            assert_eq!(names, expect, "nodes are left in {path}");
        }
        assert_eq!(self.backend.dom0.loops().unwrap(), [], "loop devices are left");
        assert_eq!(self.backend.dom0.ports().unwrap(), [], "bridge ports are left");
    }
}
