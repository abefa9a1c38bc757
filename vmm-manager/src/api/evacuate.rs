//! A host is emptied: nothing new comes, and each VM on it moves to where it costs least, a few at a time.
//!
//! ```text
//!   plan, without the lock ─► lock: maintenance, and a task with all VMs of the host, one transaction ─► each a MigrateVm (see `bulk`) ─► over
//!                                                             cancelled: what runs is taken back as moves are, maintenance is as it was ──┘
//! ```
//!
//! The plan says in which order, and where to. When a VM's turn comes, the world may be another one: whoever has no room any more at the host that was meant goes to any
//! that can take it; whoever has left by himself is done. Whoever cannot move stays: the others go on, and in the end the task has failed and names who is
//! left, and why; also whoever came meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;
use vmm_core::id::{HostId, TaskId, VmId};
use vmm_core::scheduler::record::{Question, Record};
use vmm_core::scheduler::{CostModel, Plan, Pool, evacuate};
use vmm_proto::convert::plan::shown_plan;
use vmm_proto::server::Caller;
use vmm_proto::v1::{
    EvacuateHost, Fault, FaultCode, MigrateVm, Reply, Request, RetryTask, TaskState,
};

use super::change::Change;
use super::{Asked, asked, bulk, migrate};
use crate::app::{App, Deed, Detail, Made, State, Target};
use crate::store::{HostRecord, Item, Put, TaskRecord};

/// Moves at the same time, if nobody says.
const AT_ONCE: u32 = 2;
const AT_ONCE_MAX: u32 = 16;
/// VMs that a message names.
const NAMED_MAX: usize = 5;

/// What is asked for, now or again.
pub(super) fn meant(app: &App, request: &Request) -> Option<EvacuateHost> {
    match request {
        Request::EvacuateHost(evacuate) => Some(evacuate.clone()),
        Request::RetryTask(RetryTask { task }) => {
            let state = app.lock();
            of_task(&state.task_named(task).ok()?.record).cloned()
        }
        _ => None,
    }
}

/// What an evacuation was asked to do; none of another task.
pub(super) fn of_task(record: &TaskRecord) -> Option<&EvacuateHost> {
    match record.request.as_deref() {
        Some(Request::EvacuateHost(evacuate)) => Some(evacuate),
        _ => None,
    }
}

/// Begins it, or says who would go where.
pub(super) fn begin(
    app: &Arc<App>,
    caller: &Caller,
    request: Request,
    meant: &EvacuateHost,
) -> Result<Reply, Fault> {
    check(meant)?;
    let (host, problem) = {
        let state = app.lock();
        (state.host_named(&meant.host)?.record.id, state.problem(Instant::now()))
    };
    let plan = evacuate(&problem, host, &CostModel::new(app.config.preference));
    if meant.dry_run {
        return Ok(Reply::Plan(shown_plan(&problem, &plan)));
    }
    let mut state = app.lock();
    let origin = match asked(&state, caller, request)? {
        Asked::Before(reply) => return Ok(reply),
        Asked::Now(_, origin) => origin,
    };
    let reply = store(Change { app, state: &mut state, origin }, host, problem, &plan);
    drop(state);
    app.tell_changed();
    reply
}

fn check(asked: &EvacuateHost) -> Result<(), Fault> {
    let at_once = asked.at_once.unwrap_or(AT_ONCE);
    if !(1..=AT_ONCE_MAX).contains(&at_once) {
        let message = format!("at-once of {at_once} is refused: 1 to {AT_ONCE_MAX}");
        return Err(Fault::new(FaultCode::BadRequest, message));
    }
    migrate::limits(&move_of(asked, String::new(), None)).map(drop)
}

/// Moves that may be open at the same time.
pub(super) fn at_once(asked: &EvacuateHost) -> usize {
    usize::try_from(asked.at_once.unwrap_or(AT_ONCE)).unwrap_or(1)
}

fn move_of(asked: &EvacuateHost, vm: String, to: Option<HostId>) -> MigrateVm {
    MigrateVm {
        vm,
        host: to.map(|host| host.to_string()),
        downtime_ms_max: asked.downtime_ms_max,
        slowdown_ms_max: asked.slowdown_ms_max,
        deadline_s: asked.deadline_s,
        bandwidth_bytes_per_s: asked.bandwidth_bytes_per_s,
    }
}

fn store(change: Change<'_>, host: HostId, pool: Pool, plan: &Plan) -> Result<Reply, Fault> {
    let Change { app, state, origin } = change;
    let gone = || Fault::new(FaultCode::UnknownHost, "the host is gone");
    let record = state.hosts.get(&host).ok_or_else(gone)?.record.clone();
    if let Some(task) = state.evacuation_of(host) {
        let message =
            format!("task {task} empties host {} already; wait for it, or cancel it", record.name);
        return Err(Fault::new(FaultCode::Busy, message));
    }
    let items = items(state, host, plan);
    if items.is_empty() {
        let target = Target::Host(host, record.name.clone());
        let note = Some("nothing was on the host; it is in maintenance".to_owned());
        let closed = Put::Host(Box::new(HostRecord { maintenance: true, ..record }));
        let deed = Deed { target, origin, note };
        return app.done_at_once(state, deed, vec![closed], None);
    }
    let answer = format!("{} of {} VMs would move", plan.steps.len(), items.len());
    let parent = app.begin_evacuation(state, record, items, origin)?;
    let preference = app.config.preference;
    let record = Record { question: Question::Evacuate(host), preference, pool };
    app.keep_decision(Made { record, task: Some(parent.id), answer, carried: None });
    let shown = state.show_task(&parent, Detail::Full);
    bulk::spawn(app, parent.id);
    Ok(Reply::Task(Box::new(shown)))
}

/// Those that move, in the plan's order, and then those that have none to go to: their turn may say more than the plan does.
fn items(state: &State, host: HostId, plan: &Plan) -> Vec<Item> {
    let name = |vm: &VmId| state.vms.get(vm).map(|vm| vm.record.spec.name.clone());
    let planned = plan
        .steps
        .iter()
        .filter_map(|step| Some(Item { vm: step.vm, name: name(&step.vm)?, to: Some(step.to) }));
    let mut items: Vec<Item> = planned.collect();
    let known: BTreeSet<VmId> = items.iter().map(|item| item.vm).collect();
    let others = state.vms_on(host).filter(|vm| !known.contains(vm));
    items.extend(others.filter_map(|vm| Some(Item { vm, name: name(&vm)?, to: None })));
    items
}

/// Moves one of them: to where it was meant to go, or else to any that can take it.
pub(super) fn begin_part(app: &Arc<App>, state: &mut State, record: &TaskRecord, item: &Item) {
    let Some(asked) = of_task(record) else { return };
    // Nothing begins any more, and the next manager goes on here; or it is the next one, and does not know yet who is there.
    if app.stop.is_cancelled() || !state.knows_its_hosts(Instant::now()) {
        return;
    }
    let target = || Target::Vm(item.vm, item.name.clone());
    let at = state.vms.get(&item.vm).and_then(|vm| vm.record.host);
    if at.is_none() || at != record.host {
        let request = Request::MigrateVm(move_of(asked, item.vm.to_string(), None));
        let note = Some("it was not on the host any more".to_owned());
        let deed = Deed { target: target(), origin: bulk::origin_of(record, request), note };
        // What cannot be stored now is looked at again.
        let _ = app.done_at_once(state, deed, Vec::new(), None);
        return;
    }
    let ways = item.to.map(Some).into_iter().chain([None]);
    let mut refused = None;
    for to in ways {
        let request = Request::MigrateVm(move_of(asked, item.vm.to_string(), to));
        let origin = bulk::origin_of(record, request.clone());
        let change = Change { app, state, origin: origin.clone() };
        match super::carry_out(change, request) {
            Ok(_) => return,
            Err(fault) => refused = Some((origin, fault)),
        }
    }
    if let Some((origin, fault)) = refused {
        app.refused(state, target(), &origin, fault);
    }
}

/// How far it is, in words.
pub(super) fn step(state: &State, record: &TaskRecord, over: usize) -> String {
    let children = record.items.iter().filter_map(|item| state.child_of(record.id, item.vm));
    let states: Vec<TaskState> =
        children.map(|child| child.shown.state).filter(|state| state.is_over()).collect();
    let moved = states.iter().filter(|state| **state == TaskState::Done).count();
    let stay = states.len() - moved;
    let words = match stay {
        0 => format!("{moved} have left"),
        stay => format!("{moved} have left, {stay} cannot"),
    };
    format!("{words} ({over} of {})", record.items.len())
}

/// Ends it: the host is empty, or who is left is said.
pub(super) fn finish(app: &Arc<App>, record: &TaskRecord, cancelled: bool) {
    let Some(host) = record.host else { return };
    let (end, fault) = {
        let mut state = app.lock();
        let name = state.host_name(host);
        let left = left(&state, record, host);
        let gone = record.items.len().saturating_sub(left.len());
        if cancelled {
            take_back_maintenance(&mut state, record.id, host);
            let all = record.items.len();
            let message = format!("cancelled; {gone} of {all} VMs had left host {name} by then");
            (TaskState::Cancelled, Some(Fault::new(FaultCode::Cancelled, message)))
        } else if left.is_empty() {
            (TaskState::Done, None)
        } else {
            (TaskState::Failed, Some(not_empty(&name, &left)))
        }
    };
    app.finish_task(record.id, end, fault.map(|fault| fault.at(super::HOP)));
}

/// Who is on the host still, and why.
fn left(state: &State, record: &TaskRecord, host: HostId) -> Vec<(String, Fault)> {
    let came = || Fault::new(FaultCode::BadState, "it came to the host meanwhile");
    let why = |vm: VmId| {
        let child = state.child_of(record.id, vm);
        child.map_or_else(came, |child| child.shown.fault.clone().unwrap_or_else(came))
    };
    let there = state.vms_on(host).filter_map(|vm| state.vms.get(&vm));
    there.map(|vm| (vm.record.spec.name.clone(), why(vm.record.id))).collect()
}

fn not_empty(host: &str, left: &[(String, Fault)]) -> Fault {
    let named = left.iter().take(NAMED_MAX);
    let named: Vec<String> =
        named.map(|(name, fault)| format!("{name}: {}", fault.message)).collect();
    let more = match left.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let code = left.first().map_or(FaultCode::Internal, |(_, fault)| fault.code);
    let message = format!(
        "host {host} is not empty; these stay: {}{more}. It is in maintenance; the same request goes on",
        named.join("; ")
    );
    Fault::new(code, message)
}

/// As it was before, or as somebody has said since.
fn take_back_maintenance(state: &mut State, task: TaskId, host: HostId) {
    let stays = state.tasks.get(&task).is_none_or(|task| task.record.was_in_maintenance);
    let record = state.hosts.get(&host).map(|host| host.record.clone());
    if let Some(record) = record.filter(|_| !stays) {
        let open = HostRecord { maintenance: false, ..record };
        state.commit_facts(vec![Put::Host(Box::new(open))]);
    }
}

impl State {
    /// The task that empties a host, if one does.
    pub(crate) fn evacuation_of(&self, host: HostId) -> Option<TaskId> {
        self.evacuations().find(|task| task.host == Some(host)).map(|task| task.id)
    }

    /// All of them.
    pub(crate) fn evacuations(&self) -> impl Iterator<Item = &TaskRecord> {
        self.open_records().filter(|task| of_task(task).is_some())
    }
}
