//! Many VMs at once: placed together, reserved together, built one by one.
//!
//! ```text
//!   lock: check each, copy the problem ─► solve it, without the lock ─► lock: does it still hold? ─┬─ yes: parent, VMs and their tasks, one transaction
//!                       ▲                                                                         └─ no ─┐
//!                       └──────────────────────── the pool has changed: again ◄──────────────────────────┘
//! ```
//!
//! All or nothing is about the decision: either each VM has a place, and all are reserved in one transaction, or nothing is stored. What follows is as of any
//! start: a build that fails on its host takes its own VM back, and the parent names it. Who drives the parent is [`super::bulk`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vmm_core::host::Ledger;
use vmm_core::id::{HostId, VmId};
use vmm_core::scheduler::batch::{Placed, Unplaced};
use vmm_core::scheduler::record::{Question, Record};
use vmm_core::scheduler::{
    Batch, CostModel, Effort, Group, GroupKind, Pool, Vm, batch, still_fits,
};
use vmm_core::vm::Mac;
use vmm_proto::convert::batch::{shown_batch, shown_place};
use vmm_proto::server::Caller;
use vmm_proto::v1::{CreateVm, CreateVms, Fault, FaultCode, NewVm, Reply, Request};

use super::change::Change;
use super::create::{Draft, draft, reserved};
use super::{Asked, asked, bulk};
use crate::app::{App, Begin, Detail, Made, Newcomer, Origin, Part, State};
use crate::store::{Charge, Item, Put};
use crate::workflow::{Construction, Plan};

/// VMs of one request.
const VMS_MAX: usize = 1000;
/// How often a pool that changes meanwhile is looked at anew.
const TRIES_MAX: usize = 4;
/// VMs that a message names, and hosts of each.
const VMS_NAMED_MAX: usize = 5;
const HOSTS_NAMED_MAX: usize = 4;

/// What was asked for, checked, and all that its answer depends on.
struct Problem {
    create: CreateVms,
    origin: Origin,
    drafts: Vec<Draft>,
    pool: Pool,
    vms: Vec<Vm>,
}

/// Is it for many new VMs, now or again?
pub(super) fn is_asked(app: &App, request: &Request) -> bool {
    match request {
        Request::CreateVms(_) => true,
        Request::RetryTask(retry) => {
            let state = app.lock();
            let task = state.task_named(&retry.task);
            let request = task.ok().and_then(|task| task.record.request.as_deref());
            matches!(request, Some(Request::CreateVms(_)))
        }
        _ => false,
    }
}

/// Decides, or says where they would go.
pub(super) async fn create(
    app: &Arc<App>,
    caller: &Caller,
    request: Request,
) -> Result<Reply, Fault> {
    for _ in 0..TRIES_MAX {
        let problem = match prepare(app, caller, request.clone())? {
            Ok(problem) => problem,
            Err(reply) => return Ok(reply),
        };
        let (problem, solved) = solve(problem, CostModel::new(app.config.preference)).await?;
        if problem.create.dry_run {
            return Ok(Reply::Placements(shown_batch(&problem.pool, &problem.vms, &solved)));
        }
        if let Some(reply) = settle(app, problem, solved)? {
            return Ok(reply);
        }
    }
    let message = "the pool changes faster than it is decided where the VMs go; try again";
    Err(Fault::new(FaultCode::Busy, message))
}

/// Checks each, and copies what the decision needs; or gives the reply that the key got before.
fn prepare(
    app: &Arc<App>,
    caller: &Caller,
    request: Request,
) -> Result<Result<Problem, Reply>, Fault> {
    let mut state = app.lock();
    let (request, origin) = match asked(&state, caller, request)? {
        Asked::Before(reply) => return Ok(Err(reply)),
        Asked::Now(request, origin) => (*request, origin),
    };
    let Request::CreateVms(create) = request else {
        return Err(Fault::new(FaultCode::Internal, "many VMs were to be created"));
    };
    let change = Change { app, state: &mut state, origin: origin.clone() };
    let drafts = drafts(&change, &create)?;
    let newcomers: Vec<Newcomer<'_>> = drafts.iter().map(Draft::newcomer).collect();
    let (mut pool, vms) = state.problem_of(&newcomers);
    pool.groups.extend(writers(&drafts));
    Ok(Ok(Problem { create, origin, drafts, pool, vms }))
}

fn drafts(change: &Change<'_>, create: &CreateVms) -> Result<Vec<Draft>, Fault> {
    let bad = |message: String| Err(Fault::new(FaultCode::BadRequest, message));
    if create.vms.is_empty() || create.vms.len() > VMS_MAX {
        return bad(format!("{} VMs are refused: name 1 to {VMS_MAX}", create.vms.len()));
    }
    let (mut names, mut macs) = (BTreeSet::new(), BTreeMap::<Mac, String>::new());
    let mut drafts = Vec::with_capacity(create.vms.len());
    for vm in &create.vms {
        let draft = draft(change, &alone(vm)).map_err(|fault| Fault {
            message: format!("VM {}: {}", vm.spec.name, fault.message),
            ..fault
        })?;
        if !names.insert(vm.spec.name.clone()) {
            return bad(format!("VM {} is named twice", vm.spec.name));
        }
        for nic in &draft.spec.nics {
            if let Some(other) = macs.insert(nic.mac, vm.spec.name.clone()) {
                let message =
                    format!("VMs {other} and {} have the same MAC {}", vm.spec.name, nic.mac);
                return Err(Fault::new(FaultCode::Conflict, message));
            }
        }
        drafts.push(draft);
    }
    Ok(drafts)
}

/// As it is asked for by itself.
fn alone(vm: &NewVm) -> CreateVm {
    let NewVm { pool, spec, pins, groups } = vm.clone();
    CreateVm { dry_run: false, pool, spec, pins, groups }
}

/// VMs that would write to one path cannot be on one host: for this decision they are a group.
fn writers(drafts: &[Draft]) -> Vec<Group> {
    let mut users: BTreeMap<&str, (BTreeSet<VmId>, bool)> = BTreeMap::new();
    for draft in drafts {
        for disk in &draft.spec.disks {
            let (vms, is_written) = users.entry(&disk.path).or_default();
            vms.insert(draft.record.id);
            *is_written |= !disk.read_only;
        }
    }
    let shared = users.into_iter().filter(|(_, (vms, is_written))| vms.len() > 1 && *is_written);
    let group = |(path, (members, _)): (&str, (BTreeSet<VmId>, bool))| Group {
        name: format!("of those that write to {path}"),
        members,
        kind: GroupKind::Apart,
        wish: None,
    };
    shared.map(group).collect()
}

async fn solve(problem: Problem, model: CostModel) -> Result<(Problem, Batch), Fault> {
    let solved = tokio::task::spawn_blocking(move || {
        let solved = batch(&problem.pool, &problem.vms, &model, Effort::default());
        (problem, solved)
    });
    solved.await.map_err(|error| {
        Fault::new(FaultCode::Internal, format!("the placement did not end: {error}"))
    })
}

/// Stores it, if it still holds.
fn settle(app: &Arc<App>, problem: Problem, solved: Batch) -> Result<Option<Reply>, Fault> {
    let is_short = !solved.unplaced.is_empty() && !problem.create.partial;
    if is_short {
        let fault = no_places(&problem, &solved);
        app.keep_decision(made(app, problem, fault.message.clone()));
        return Err(fault);
    }
    let mut state = app.lock();
    if let Some(reply) = state.replayed(problem.origin.key.as_ref())? {
        return Ok(Some(reply));
    }
    if !holds(app, &mut state, &problem, &solved) {
        return Ok(None);
    }
    let parts = parts(&problem, &solved);
    let parent = app.begin_all(&mut state, parts, problem.origin.clone())?;
    let shown = state.show_task(&parent, Detail::Full);
    drop(state);
    let answer = format!("{} of {} VMs", solved.placed.len(), problem.drafts.len());
    app.keep_decision(Made { task: Some(parent.id), ..made(app, problem, answer) });
    bulk::spawn(app, parent.id);
    app.tell_changed();
    app.start_next();
    Ok(Some(Reply::Task(Box::new(shown))))
}

/// Whether nothing has come between: names, addresses, groups, rules and room.
fn holds(app: &Arc<App>, state: &mut State, problem: &Problem, solved: &Batch) -> bool {
    let is_known =
        |draft: &Draft| draft.record.groups.iter().all(|group| state.groups.get(*group).is_some());
    if !problem.drafts.iter().all(is_known) {
        return false;
    }
    let change = Change { app, state, origin: problem.origin.clone() };
    if problem.drafts.iter().any(|draft| draft.check(&change).is_err()) {
        return false;
    }
    let newcomers: Vec<Newcomer<'_>> = problem.drafts.iter().map(Draft::newcomer).collect();
    let (mut pool, vms) = change.state.problem_of(&newcomers);
    pool.groups.extend(writers(&problem.drafts));
    let places: Vec<(VmId, HostId)> =
        solved.placed.iter().map(|placed| (placed.vm, placed.host)).collect();
    still_fits(&pool, &vms, &places).is_ok() && is_within_ledgers(change.state, problem, &places)
}

/// CAP1: the scheduler has looked already, the ledgers have the last word.
fn is_within_ledgers(state: &State, problem: &Problem, places: &[(VmId, HostId)]) -> bool {
    let charges: BTreeMap<VmId, Charge> =
        problem.drafts.iter().map(|draft| (draft.record.id, draft.charge)).collect();
    let mut ledgers: BTreeMap<HostId, Ledger> = BTreeMap::new();
    places.iter().all(|(vm, host)| {
        let there = || state.hosts.get(host).map(|host| host.ledger.clone()).unwrap_or_default();
        let charge = charges.get(vm).copied();
        let ledger = ledgers.entry(*host).or_insert_with(there);
        charge.is_some_and(|charge| ledger.reserve(*vm, charge.into()).is_ok())
    })
}

fn parts(problem: &Problem, solved: &Batch) -> Vec<Part> {
    let placed: BTreeMap<VmId, &Placed> =
        solved.placed.iter().map(|placed| (placed.vm, placed)).collect();
    let unplaced: BTreeMap<VmId, &Unplaced> =
        solved.unplaced.iter().map(|unplaced| (unplaced.vm, unplaced)).collect();
    let part = |(draft, vm): (&Draft, &NewVm)| {
        let origin = Origin {
            key: None,
            request: Box::new(Request::CreateVm(alone(vm))),
            retry_of: None,
            ..problem.origin.clone()
        };
        let (id, name) = (draft.record.id, draft.record.spec.name.clone());
        let Some(place) = placed.get(&id) else {
            let why = unplaced.get(&id).map_or_else(String::new, |one| reasons(problem, one));
            let message = format!("no host can take the VM beside the others: {why}");
            let fault = Fault::new(FaultCode::NoCapacity, message);
            return Part::Refused(Item { vm: id, name, to: None }, origin, fault);
        };
        let begin = Begin {
            vm: id,
            vm_name: name,
            host: Some(place.host),
            origin,
            puts: vec![Put::Vm(Box::new(reserved(draft.record.clone(), place.host, draft.charge)))],
            placement: None,
            plan: Plan::Build(Construction::New),
        };
        Part::Planned(Box::new(begin), shown_place(&problem.pool, place))
    };
    problem.drafts.iter().zip(&problem.create.vms).map(part).collect()
}

fn made(app: &App, problem: Problem, answer: String) -> Made {
    let Problem { mut pool, vms, .. } = problem;
    let question = Question::Batch(vms.iter().map(|vm| vm.id).collect(), Effort::default());
    pool.vms.extend(vms);
    let record = Record { question, preference: app.config.preference, pool };
    Made { record, task: None, answer, carried: None }
}

/// Says which VMs have no place, and why.
fn no_places(problem: &Problem, solved: &Batch) -> Fault {
    let name = |id: VmId| {
        let draft = problem.drafts.iter().find(|draft| draft.record.id == id);
        draft.map_or("", |draft| draft.record.spec.name.as_str())
    };
    let named = solved.unplaced.iter().take(VMS_NAMED_MAX);
    let named = named.map(|one| format!("{}: {}", name(one.vm), reasons(problem, one)));
    let message = format!(
        "{} of {} VMs have no place beside the others, so none was created: {}{}. A dry run says it of each; `partial` creates the others",
        solved.unplaced.len(),
        problem.drafts.len(),
        named.collect::<Vec<_>>().join("; "),
        more(solved.unplaced.len(), VMS_NAMED_MAX, "VMs")
    );
    Fault::new(FaultCode::NoCapacity, message)
}

fn reasons(problem: &Problem, unplaced: &Unplaced) -> String {
    let name = |id: HostId| {
        let host = problem.pool.hosts.iter().find(|host| host.id == id);
        host.map_or("", |host| host.name.as_str())
    };
    let all = unplaced.refusals.iter().take(HOSTS_NAMED_MAX);
    let all: Vec<String> = all.map(|(host, why)| format!("{} ({why})", name(*host))).collect();
    if all.is_empty() {
        return "there is no host in the pool".to_owned();
    }
    format!("{}{}", all.join(", "), more(unplaced.refusals.len(), HOSTS_NAMED_MAX, "hosts"))
}

fn more(count: usize, named: usize, what: &str) -> String {
    match count.saturating_sub(named) {
        0 => String::new(),
        more => format!(", and {more} more {what}"),
    }
}
