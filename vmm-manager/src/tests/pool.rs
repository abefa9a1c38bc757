//! A pool in one process: a manager, its store, and scripted agents.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vmm_core::units::Kib;
use vmm_proto::clock::{TokioClock, WallClock as _};
use vmm_proto::principal::Principal;
use vmm_proto::server::{Caller, Service as _};
use vmm_proto::v1::{self, Fault, Reply, Request, Task};

use super::FakeAgents;
use crate::store::faulty::Faulty;
use crate::{Manager, ManagerConfig, OpenError, StoreLocation};

/// What every host of a test has, beside what the test says.
pub(crate) const HOST_MIB: u64 = 4096;

/// The date when a test begins.
const START: Duration = Duration::from_secs(1_800_000_000);

pub(crate) struct Pool {
    pub(crate) agents: FakeAgents,
    pub(crate) manager: Arc<Manager>,
    pub(crate) store: Faulty,
    outside: Outside,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Pool {
    /// Hosts of four CPUs and 4 GiB, heard.
    pub(crate) async fn of(hosts: &[&str]) -> Self {
        Self::with(ManagerConfig::default(), hosts).await
    }

    /// As [`Pool::of`], with these limits.
    pub(crate) async fn with(config: ManagerConfig, hosts: &[&str]) -> Self {
        let (agents, store, random) = (FakeAgents::new(), Faulty::exclusive(), Arc::default());
        let clock = Arc::new(TokioClock::starting_at(START));
        let outside = Outside { agents, store, random, clock, config };
        let (manager, stop, running) = outside.start().await;
        let agents = outside.agents.clone();
        let store = outside.store.clone();
        let pool = Self { agents, manager, store, outside, stop, running };
        for name in hosts {
            equip(&pool.agents, name);
            let (name, address) = ((*name).to_owned(), format!("{name}:1"));
            pool.ok(Request::AddHost(v1::AddHost { name, address, pool: None })).await;
        }
        pool.settle().await;
        pool
    }

    /// Time for reports to come in.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(12)).await;
    }

    /// Ends the manager as a crash would, and starts another one on the same store.
    pub(crate) async fn restart(&mut self) {
        self.end().await;
        self.restart_ended().await;
    }

    /// As [`Pool::restart`], and what was not stored yet is lost.
    pub(crate) async fn crash(&mut self) {
        self.manager.app().store.crash().await;
        self.restart().await;
    }

    /// Starts another manager after [`Pool::end`].
    pub(crate) async fn restart_ended(&mut self) {
        let (manager, stop, running) = self.outside.start().await;
        (self.manager, self.stop, self.running) = (manager, stop, running);
    }

    pub(crate) async fn end(&mut self) {
        self.stop.cancel();
        (&mut self.running).await.expect("no panic");
    }

    pub(crate) async fn call(&self, key: Option<&str>, request: Request) -> Result<Reply, Fault> {
        // A test that does not care for the key still needs one for each change.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let fresh = || format!("fresh-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let caller = Caller {
            principal: Principal::admin("ann"),
            request_id: "r".into(),
            idempotency_key: Some(key.map_or_else(fresh, str::to_owned)),
            deadline: None,
        };
        self.manager.call(caller, request).await
    }

    pub(crate) async fn ok(&self, request: Request) -> Reply {
        self.call(None, request).await.expect("the request succeeds")
    }

    /// Starts a change.
    pub(crate) async fn begin(&self, request: Request) -> Task {
        match self.ok(request).await {
            Reply::Task(task) => *task,
            other => panic!("a task was expected, not {other:?}"),
        }
    }

    /// Waits until a task is over.
    pub(crate) async fn wait(&self, task: &str) -> Task {
        for _ in 0..20 {
            let wait = v1::WaitTask { task: task.to_owned(), wait_ms_max: 60_000 };
            match self.ok(Request::WaitTask(wait)).await {
                Reply::Task(task) if task.state.is_over() => {
                    return *task;
                }
                _ => {}
            }
        }
        panic!("the task does not end")
    }

    pub(crate) async fn done(&self, request: Request) -> Task {
        let task = self.begin(request).await;
        let task = self.wait(&task.task).await;
        assert_eq!(task.state, v1::TaskState::Done, "{task:?}");
        task
    }

    pub(crate) async fn create(&self, name: &str) -> Task {
        self.done(create(name)).await
    }

    pub(crate) async fn vm(&self, name: &str) -> Option<v1::Vm> {
        match self.call(None, Request::ShowVm(v1::ShowVm { vm: name.to_owned() })).await {
            Ok(Reply::Vm(vm)) => Some(*vm),
            _ => None,
        }
    }

    /// The date.
    pub(crate) fn clock_ms(&self) -> u64 {
        u64::try_from(self.outside.clock.now().as_millis()).expect("not that late")
    }

    /// CAP1, and what is reserved on a host in MiB.
    pub(crate) fn reserved_mib(&self, host: &str) -> u64 {
        let facts = self.manager.facts();
        for (name, figures) in &facts {
            assert!(figures.memory_reserved <= figures.memory_capacity, "CAP1 on {name}");
        }
        facts[host].memory_reserved.mib()
    }
}

/// What outlives a manager.
struct Outside {
    agents: FakeAgents,
    store: Faulty,
    random: Arc<AtomicU64>,
    clock: Arc<TokioClock>,
    config: ManagerConfig,
}

impl Outside {
    async fn start(&self) -> (Arc<Manager>, CancellationToken, JoinHandle<()>) {
        let manager = loop {
            let counter = Arc::clone(&self.random);
            let random =
                Arc::new(move || u128::from(counter.fetch_add(1, Ordering::Relaxed)).to_be_bytes());
            let location = StoreLocation::Faulty(self.store.clone());
            let clock = Arc::clone(&self.clock) as _;
            let (config, agents) = (self.config.clone(), Arc::new(self.agents.clone()));
            match Manager::with_agents(config, location, agents, random, clock).await {
                Ok(manager) => break manager,
                // The machine starts it again.
                Err(OpenError::Store(_)) => tokio::time::sleep(Duration::from_secs(1)).await,
                Err(other) => panic!("{other}"),
            }
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(Arc::clone(&manager).run(stop.clone()));
        (manager, stop, running)
    }
}

/// A host of four CPUs and 4 GiB.
pub(crate) fn equip(agents: &FakeAgents, name: &str) {
    agents.with(name, |host| {
        host.machine = format!("machine of {name}");
        host.facts = v1::HostFacts {
            pcpus: 4,
            memory_kib: Kib::from_mib(HOST_MIB).0,
            disk_bytes_per_s: 100_000_000,
            ..v1::HostFacts::default()
        };
        host.load.memory_free_kib = Kib::from_mib(HOST_MIB).0;
    });
}

/// Bytes that look random to nobody, and never repeat.
pub(crate) fn counter() -> impl Fn() -> [u8; 16] + Send + Sync {
    let count = AtomicU64::new(0);
    move || u128::from(count.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

pub(crate) fn spec(name: &str) -> v1::Spec {
    v1::Spec {
        name: name.to_owned(),
        vcpus: 1,
        vcpus_max: 2,
        memory_kib: Kib::from_mib(128).0,
        memory_max_kib: Kib::from_mib(256).0,
        kernel: "/boot/vmlinuz".into(),
        initramfs: None,
        cmdline: String::new(),
        cpu_demand_milli: 0,
        disk_demand_bytes_per_s: 0,
        ..v1::Spec::default()
    }
}

pub(crate) fn create(name: &str) -> Request {
    Request::CreateVm(v1::CreateVm { spec: spec(name), ..v1::CreateVm::default() })
}
