//! Random days of a pool: hosts fall silent, replies are lost, guests crash, the store fails, the manager is restarted or crashes. VM1 and CAP1 hold at every
//! step, and when everything is heard again, what is stored is what is there.

use std::time::Duration;

use tokio::time::sleep;
use vmm_core::task::turns::Limits;
use vmm_core::units::Kib;
use vmm_proto::v1::{self, BulkOperation, BulkVms, Reply, Request, VmPhase, VmRef};

use super::Pool;
use super::plans::disk;
use super::pool::create;
use crate::ManagerConfig;
use crate::store::faulty::Fault;

pub(super) const HOSTS: [&str; 3] = ["a", "b", "c"];
pub(super) const NAMES: [&str; 4] = ["v0", "v1", "v2", "v3"];
const SEEDS: u64 = 60;
/// Set to a number, more days are tried.
const SEEDS_VARIABLE: &str = "VMM_MANAGER_SEEDS";
const STEPS: usize = 60;

/// Small and good enough: the same seed is the same day.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    pub(super) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let n = self.below(u64::try_from(choices.len()).expect("few"));
        choices[usize::try_from(n).expect("few")]
    }
}

pub(super) fn request(dice: &mut Dice) -> Request {
    let vm = dice.of(&NAMES).to_owned();
    let memory_kib = Kib::from_mib(64 + dice.below(3000)).0;
    let (wait_ms_max, force, disk) = (1000, false, disk("xvdb"));
    match dice.below(21) {
        0 | 1 => create(&vm),
        2 | 3 => Request::StartVm(v1::StartVm { vm }),
        4 => Request::DestroyVm(v1::DestroyVm { vm }),
        5 => Request::ShutdownVm(v1::ShutdownVm { vm, wait_ms_max: 1000 }),
        6 => Request::DeleteVm(v1::DeleteVm { vm }),
        7 => Request::PauseVm(v1::PauseVm { vm }),
        8 => Request::SuspendVm(v1::SuspendVm { vm, wait_ms_max }),
        9 => Request::ResumeVm(v1::ResumeVm { vm }),
        10 | 11 => {
            let path = format!("/{}.save", dice.below(1 << 40));
            Request::SaveVm(v1::SaveVm {
                vm,
                path,
                format: v1::SavedFormat::default(),
                wait_ms_max,
            })
        }
        12 | 13 => Request::RestoreVm(v1::RestoreVm { vm, path: None }),
        14 => Request::DiscardSaved(v1::DiscardSaved { vm }),
        15 => Request::AttachDisk(v1::AttachDisk { vm, wait_ms_max, disk }),
        16 => {
            let device = disk.device;
            Request::DetachDisk(v1::DetachDisk { vm, device, wait_ms_max, force })
        }
        17 | 18 => {
            let operations = [BulkOperation::Start, BulkOperation::Pause, BulkOperation::Destroy];
            let vms = NAMES.iter().take(2).map(|vm| VmRef { vm: (*vm).to_owned() }).collect();
            let operation = dice.of(&operations);
            Request::BulkVms(BulkVms { operation, wait_ms_max: None, directory: None, vms })
        }
        _ => Request::SetMemory(v1::SetMemory { vm, memory_kib, wait_ms_max: 1000 }),
    }
}

/// A host on which a VM is being built: the worst moment for it to fall silent.
async fn builder(pool: &Pool) -> Option<String> {
    let Reply::Vms(vms) = pool.ok(Request::ListVms(v1::ListVms::default())).await else {
        panic!("VMs")
    };
    vms.vms.into_iter().find(|vm| vm.phase == VmPhase::Starting).and_then(|vm| vm.host)
}

async fn failed_tasks(pool: &Pool) -> Vec<String> {
    let wanted = v1::ListTasks { state: Some(v1::TaskState::Failed), ..v1::ListTasks::default() };
    let Reply::Tasks(tasks) = pool.ok(Request::ListTasks(wanted)).await else { panic!("tasks") };
    tasks.tasks.into_iter().map(|task| task.task).collect()
}

pub(super) async fn misfortune(pool: &mut Pool, dice: &mut Dice) {
    let host = builder(pool).await.unwrap_or_else(|| dice.of(&HOSTS).to_owned());
    let host = host.as_str();
    match dice.below(10) {
        0 => pool.agents.with(host, |host| host.silent = true),
        1 | 2 => pool.agents.with(host, |host| host.silent = false),
        3 => pool.agents.with(host, |host| host.lose_replies = 2),
        4 => pool.agents.with(host, |host| {
            let running = host.vms.iter().find(|(_, vm)| vm.phase == VmPhase::Running);
            if let Some(vm) = running.map(|(id, _)| id.clone()) {
                host.set(&vm, VmPhase::Crashed);
            }
        }),
        5 => pool.restart().await,
        6 => pool.crash().await,
        7 => {
            let after = usize::try_from(dice.below(6)).expect("few");
            pool.store.fail(after, dice.of(&[Fault::Undone, Fault::ReplyLost]));
        }
        9 => {
            let tasks = failed_tasks(pool).await;
            if let Some(task) = tasks.first().cloned() {
                let _ = pool.call(None, Request::RetryTask(v1::RetryTask { task })).await;
            }
        }
        _ => {
            let Reply::Tasks(tasks) = pool.ok(Request::ListTasks(v1::ListTasks::default())).await
            else {
                panic!("tasks");
            };
            if let Some(task) = tasks.tasks.first().map(|task| task.task.clone()) {
                let _ = pool.call(None, Request::CancelTask(v1::CancelTask { task })).await;
            }
        }
    }
}

fn check_vm1_and_cap1(pool: &Pool, seed: u64) {
    pool.reserved_mib("a");
    for vm in pool.agents.known_vms() {
        let hosts = pool.agents.running_on(&vm);
        assert!(hosts.len() <= 1, "seed {seed}: VM1: {vm} runs on {hosts:?}");
    }
}

/// What is stored is what is there.
pub(super) async fn check_agreement(pool: &Pool, seed: u64) {
    let Reply::Vms(vms) = pool.ok(Request::ListVms(v1::ListVms::default())).await else {
        panic!("VMs")
    };
    for vm in &vms.vms {
        let hosts = pool.agents.running_on(&vm.vm);
        assert_eq!(hosts.first(), vm.host.as_ref(), "seed {seed}: {vm:?}");
        assert!(!vm.stale, "seed {seed}: {vm:?}");
        assert_eq!(vm.phase == VmPhase::Saved, vm.saved_path.is_some(), "seed {seed}: {vm:?}");
        if let (Some(path), Some(host)) = (&vm.saved_path, &vm.saved_host) {
            let there = pool.agents.with(host, |host| host.files.contains(path));
            assert!(there, "seed {seed}: {vm:?}");
        }
    }
    for id in pool.agents.known_vms() {
        let stored = vms.vms.iter().any(|vm| vm.vm == id);
        assert!(stored || pool.agents.running_on(&id).is_empty(), "seed {seed}: {id} is left over");
    }
    let Reply::Tasks(tasks) = pool.ok(Request::ListTasks(v1::ListTasks::default())).await else {
        panic!("tasks");
    };
    assert!(tasks.tasks.iter().all(|task| task.state.is_over()), "seed {seed}: {tasks:?}");
}

async fn day(seed: u64) {
    let mut dice = Dice(seed);
    // Few at a time, so that there are queues.
    let task_limits =
        Limits { running: 3, builds_per_host: 1, transfers_per_host: 1, light_per_host: 2 };
    let config = ManagerConfig { task_limits, bulk_open_max: 1, ..ManagerConfig::default() };
    let mut pool = Pool::with(config, &HOSTS).await;
    for host in HOSTS {
        pool.agents.with(host, |host| host.build_time = Duration::from_millis(700));
    }
    for _ in 0..STEPS {
        if dice.below(3) == 0 {
            misfortune(&mut pool, &mut dice).await;
        } else {
            let _ = pool.call(None, request(&mut dice)).await;
        }
        sleep(Duration::from_millis(dice.of(&[0, 1, 300, 900, 5000, 30_000]))).await;
        check_vm1_and_cap1(&pool, seed);
    }
    for host in HOSTS {
        pool.agents.with(host, |host| (host.silent, host.lose_replies) = (false, 0));
    }
    sleep(Duration::from_secs(400)).await;
    check_vm1_and_cap1(&pool, seed);
    check_agreement(&pool, seed).await;
    pool.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_survives_its_days() {
    let more = std::env::var(SEEDS_VARIABLE).ok().and_then(|seeds| seeds.parse().ok());
    for seed in 0..more.unwrap_or(SEEDS) {
        day(seed).await;
    }
}
