//! A plan whose moves the manager makes: each an ordinary task, begun when it is its turn and if it still is what the plan took it for.
//!
//! ```text
//!   wave: a move waits ─► both its hosts are free of others, few are under way in the pool
//!                          ─► the world again: still there, free, worth it? ─┬─ yes: MigrateVm ─► its task is followed
//!                                                                           └─ no ───────────┐
//!         all moves of the wave are over ─► the next wave          one fails, or is cancelled ─┴─► nothing more begins
//! ```
//!
//! The kept decision says how far it is. When the manager ends, its tasks are taken up by the next one as all tasks are; the plan is not: what was not begun is
//! written off, and the pool looked at anew.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;
use vmm_core::id::{HostId, PoolId, VmId};
use vmm_core::scheduler::{CostModel, Limits, Plan, Pool, Step, Why, still_holds};
use vmm_proto::convert::plan::{shown_plan, why_in_words};
use vmm_proto::v1::{
    CarriedMove, CarryOut, Fault, MigrateVm, PlannedMove, Progress, Rebalance, Task, TaskState,
};

use super::advice::within;
use crate::api::begin_move;
use crate::app::{App, State};

/// As its tasks name it.
pub(crate) const INITIATOR: &str = "reconciler/rebalance";
/// Moves of a pool at the same time, whoever asked for them; of each host one out and one in.
const MOVES_AT_ONCE: usize = 4;
/// Why the plans of an earlier manager are not gone on with.
const STARTED_ANEW: &str =
    "the manager was started anew: what was under way goes on, and the pool is looked at again";

/// How a plan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As it was meant.
    Done,
    /// By the move of this VM, or by nobody's.
    Stopped(Option<VmId>),
}

/// See the [module](self).
pub(super) struct Carry {
    decision: u64,
    /// None when it is an earlier manager's.
    pool: Option<PoolId>,
    /// As planned; beside each in `told`, what came of it.
    steps: Vec<Step>,
    told: CarryOut,
    at_fault: Option<VmId>,
}

impl Carry {
    /// What is told of a plan of which nothing was begun.
    pub(super) fn told(name: &str, pool: &Pool, plan: &Plan) -> CarryOut {
        let waits = |planned: PlannedMove| CarriedMove {
            vm: planned.vm,
            vm_name: planned.vm_name,
            source: planned.source,
            destination: planned.destination,
            state: TaskState::Queued,
            ..CarriedMove::default()
        };
        let moves = shown_plan(pool, plan).moves.into_iter().map(waits).collect();
        CarryOut { pool: name.to_owned(), moves, ..CarryOut::default() }
    }

    pub(super) fn of(decision: u64, pool: PoolId, steps: Vec<Step>, told: CarryOut) -> Self {
        Self { decision, pool: Some(pool), steps, told, at_fault: None }
    }

    /// Plans of earlier managers, whose tasks may go on.
    pub(super) fn left_over(state: &State) -> Vec<Self> {
        let of_before = |(decision, told): (u64, &CarryOut)| {
            let mut told = CarryOut { reason: Some(STARTED_ANEW.to_owned()), ..told.clone() };
            let mut known: BTreeSet<String> =
                told.moves.iter().filter_map(|moved| moved.task.clone()).collect();
            told.moves.iter_mut().for_each(|moved| adopt(state, moved, &mut known));
            Self { decision, pool: None, steps: Vec::new(), told, at_fault: None }
        };
        state.decisions.under_way().map(of_before).collect()
    }

    pub(super) fn pool(&self) -> Option<PoolId> {
        self.pool
    }

    /// Looks at what is under way, and begins what can begin; how it ended, when it has.
    pub(super) fn advance(&mut self, app: &Arc<App>) -> Option<End> {
        let before = self.told.clone();
        {
            let state = app.lock();
            self.look(&state);
            self.check_is_wanted(&state);
        }
        while self.told.reason.is_none() {
            let next = self.next(&app.lock());
            let Some(at) = next else { break };
            self.begin(app, at);
        }
        self.conclude();
        if self.told != before {
            app.note_carried(self.decision, &self.told);
        }
        match self.told.progress {
            Progress::UnderWay => None,
            Progress::Done => Some(End::Done),
            Progress::Stopped => Some(End::Stopped(self.at_fault)),
        }
    }

    fn stop(&mut self, why: String, vm: Option<VmId>) {
        if self.told.reason.is_none() {
            tracing::info!(decision = self.decision, why, "a plan of moves is stopped");
            self.told.reason = Some(why);
            self.at_fault = vm;
        }
    }

    fn look(&mut self, state: &State) {
        let mut failed = None;
        for moved in self.told.moves.iter_mut().filter(|moved| !moved.state.is_over()) {
            let Some(task) = &moved.task else { continue };
            match state.task_named(task) {
                Ok(task) => {
                    let shown = &task.record.shown;
                    moved.state = shown.state;
                    moved.message = shown.fault.as_ref().map(|fault| fault.message.clone());
                }
                // It is forgotten already, so it is over.
                Err(_) => moved.state = end_of(state, moved),
            }
            if matches!(moved.state, TaskState::Failed | TaskState::Cancelled) {
                failed.get_or_insert_with(|| moved.clone());
            }
        }
        if let Some(CarriedMove { vm, vm_name, message, .. }) = failed {
            let why = message.unwrap_or_else(|| "it is not known why".to_owned());
            self.stop(format!("{vm_name} was not moved: {why}"), vm.parse().ok());
        }
    }

    fn check_is_wanted(&mut self, state: &State) {
        let Some(id) = self.pool else { return };
        let is_wanted = |pool: &crate::store::PoolRecord| pool.rebalance == Rebalance::CarryOut;
        if !state.places.pool(id).is_some_and(is_wanted) {
            self.stop("the pool's moves shall not be carried out any more".to_owned(), None);
        }
    }

    /// The move that may begin now.
    fn next(&self, state: &State) -> Option<usize> {
        let pool = self.pool?;
        let waves = self.steps.iter().zip(&self.told.moves);
        let wave = waves.filter(|(_, moved)| !moved.state.is_over()).map(|(step, _)| step.wave);
        let wave = wave.min()?;
        let is_here = |host: &HostId| state.hosts.get(host).is_some_and(|h| h.record.pool == pool);
        let under_way: Vec<(HostId, HostId)> =
            state.moves_under_way().filter(|(source, _)| is_here(source)).collect();
        if under_way.len() >= MOVES_AT_ONCE {
            return None;
        }
        let may = |(step, moved): (&Step, &CarriedMove)| {
            let waits = moved.state == TaskState::Queued && moved.task.is_none();
            let meets = |(from, to): &(HostId, HostId)| *from == step.from || *to == step.to;
            waits && step.wave == wave && !under_way.iter().any(meets)
        };
        self.steps.iter().zip(&self.told.moves).position(may)
    }

    /// Looks at the world again, and begins the move; or stops.
    fn begin(&mut self, app: &Arc<App>, at: usize) {
        let step = self.steps[at];
        let asked = MigrateVm {
            vm: step.vm.to_string(),
            host: Some(step.to.to_string()),
            ..MigrateVm::default()
        };
        let begun = match self.doubt(app, at) {
            Some(why) => Err(why),
            None => begin_move(app, INITIATOR, asked).map_err(|fault: Fault| fault.message),
        };
        let moved = &mut self.told.moves[at];
        match begun {
            Ok(task) => {
                moved.state = task.state;
                moved.task = Some(task.task);
            }
            Err(why) => {
                moved.state = TaskState::Cancelled;
                moved.message = Some(why.clone());
                let why = format!("{} was not moved: {why}", moved.vm_name);
                self.stop(why, Some(step.vm));
            }
        }
    }

    /// Why the move is not what the plan took it for any more.
    fn doubt(&self, app: &App, at: usize) -> Option<String> {
        let step = self.steps[at];
        let (problem, name) = {
            let state = app.lock();
            let pool = self.pool.and_then(|id| state.places.pool(id));
            (state.problem(Instant::now()), pool.map(|pool| pool.name.clone()))
        };
        let Some(vm) = problem.vms.iter().find(|vm| vm.id == step.vm) else {
            return Some("it is on no host any more".to_owned());
        };
        if vm.host != Some(step.from) {
            return Some("it is on another host by now".to_owned());
        }
        let pool = within(&problem, &name.unwrap_or_default());
        let (model, limits) = (CostModel::new(app.config.preference), Limits::default());
        let why = still_holds(&pool, &self.steps, at, &model, &limits).err()?;
        Some(match why {
            Why::Immovable => "it does not run undisturbed any more".to_owned(),
            why => why_in_words(&pool, &why),
        })
    }

    /// Over when nothing is under way and nothing more begins.
    fn conclude(&mut self) {
        if self.told.reason.is_some() {
            let waiting = self.told.moves.iter_mut().filter(|moved| moved.task.is_none());
            for moved in waiting.filter(|moved| !moved.state.is_over()) {
                moved.state = TaskState::Cancelled;
            }
        }
        if self.told.moves.iter().all(|moved| moved.state == TaskState::Done) {
            self.told.progress = Progress::Done;
        } else if self.told.moves.iter().all(|moved| moved.state.is_over()) {
            self.told.progress = Progress::Stopped;
        }
    }
}

/// The task of a move may have been stored, and that it was begun not.
fn adopt(state: &State, moved: &mut CarriedMove, known: &mut BTreeSet<String>) {
    if moved.task.is_some() || moved.state.is_over() {
        return;
    }
    let vm = moved.vm.parse().ok().and_then(|vm: VmId| state.vms.get(&vm));
    let task = vm.and_then(|vm| state.tasks.get(&vm.owner?));
    let is_own = |shown: &&Task| shown.initiator.as_deref() == Some(INITIATOR);
    if let Some(shown) = task.map(|task| &task.record.shown).filter(is_own)
        && known.insert(shown.task.clone())
    {
        (moved.task, moved.state) = (Some(shown.task.clone()), shown.state);
    }
}

/// What came of a move whose task nobody remembers: where the VM is says it.
fn end_of(state: &State, moved: &CarriedMove) -> TaskState {
    let vm = moved.vm.parse().ok().and_then(|vm: VmId| state.vms.get(&vm));
    let host = vm.and_then(|vm| vm.record.host).map(|host| state.host_name(host));
    if host.as_deref() == Some(moved.destination.as_str()) {
        TaskState::Done
    } else {
        TaskState::Failed
    }
}
