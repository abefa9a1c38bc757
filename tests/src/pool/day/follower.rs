//! Somebody who follows the events of a pool all day, as a console does: what he knows must be what the lists say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use vmm_proto::v1::{self, ObjectKind, Reply, Request, TargetKind, TaskState};

use crate::pool::Operator;

/// A console is no faster than an eye.
const PAUSE: Duration = Duration::from_millis(500);
/// How long he waits when nobody answers.
const AWAY: Duration = Duration::from_secs(1);

/// The verb of a task that moves a VM.
const MOVE: &str = "MigrateVm";

/// What he knows.
#[derive(Default)]
pub(super) struct Known {
    cursor: String,
    /// By id.
    pub(super) vms: BTreeMap<String, v1::Vm>,
    /// Those that are under way, by id.
    pub(super) open: BTreeMap<String, v1::Task>,
    /// Those that came to nothing, the latest last.
    pub(super) failed: Vec<String>,
    /// Tasks whose end was seen.
    ended: BTreeSet<String>,
    pub(super) done_count: usize,
    pub(super) failed_count: usize,
    /// Of those done, the moves.
    pub(super) moved_count: usize,
    /// The pool in which a VM was put first.
    homes: BTreeMap<String, String>,
    /// A VM that left its pool.
    pub(super) violation: Option<String>,
}

/// Follows until dropped.
pub(super) struct Follower {
    known: Arc<Mutex<Known>>,
    job: AbortHandle,
}

impl Follower {
    pub(super) fn start(operator: Operator) -> Self {
        let known = Arc::new(Mutex::new(Known::default()));
        let job = tokio::spawn(follow(operator, Arc::clone(&known))).abort_handle();
        Self { known, job }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.job.abort();
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow(operator: Operator, known: Arc<Mutex<Known>>) {
    loop {
        let cursor = lock(&known).cursor.clone();
        let wait = v1::WaitEvents {
            cursor,
            wait_ms_max: 5000,
            count_max: 1000,
            hosts: false,
            vms: true,
            tasks: true,
            pools: false,
            sites: false,
            groups: false,
        };
        let pause = match operator.ask(Request::WaitEvents(wait)).await {
            Ok(Reply::Events(events)) => {
                let more = events.more;
                lock(&known).take(events);
                if more { Duration::ZERO } else { PAUSE }
            }
            _ => AWAY,
        };
        tokio::time::sleep(pause).await;
    }
}

impl Known {
    fn take(&mut self, events: v1::Events) {
        if events.resync {
            self.vms.clear();
            self.open.clear();
        }
        self.cursor = events.cursor;
        for vm in events.vms {
            self.take_home(&vm);
            self.vms.insert(vm.vm.clone(), vm);
        }
        for task in events.tasks {
            self.take_task(task);
        }
        for gone in events.gone {
            match gone.object {
                ObjectKind::Vm => drop(self.vms.remove(&gone.id)),
                ObjectKind::Task => drop(self.open.remove(&gone.id)),
                _ => {}
            }
        }
    }

    /// A VM moves only inside its pool.
    fn take_home(&mut self, vm: &v1::Vm) {
        let (Some(host), Some(pool)) = (&vm.host, &vm.pool) else { return };
        let home = self.homes.entry(vm.vm.clone()).or_insert_with(|| pool.clone());
        if home != pool {
            let name = &vm.spec.name;
            self.violation = Some(format!("VM {name} of pool {home} is on host {host} of {pool}"));
        }
    }

    fn take_task(&mut self, task: v1::Task) {
        if !task.state.is_over() {
            self.open.insert(task.task.clone(), task);
            return;
        }
        self.open.remove(&task.task);
        if task.target_kind == Some(TargetKind::Vms) || !self.ended.insert(task.task.clone()) {
            return;
        }
        if task.state == TaskState::Done {
            self.done_count += 1;
            self.moved_count += usize::from(task.verb == MOVE);
        } else {
            self.failed_count += 1;
            self.failed.push(task.task);
        }
    }
}
