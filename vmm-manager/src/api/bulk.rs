//! The same change of many VMs: one task that is answered, and one for each VM, a few at a time.
//!
//! ```text
//!   BulkVms ─► parent, stored with its VMs ─► drive ─┬─ next VM ─► decided as if it was asked for ─► child, under the limits
//!                                                    └─ all over ─► parent is over, and names who failed
//! ```
//!
//! What has become of a VM is what its child says; so the parent goes on after a restart where its children say that it was. A VM that is refused has a
//! child that failed with the reason. A cancelled parent cancels the children that wait, begins no more, and is over when the others are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use vmm_core::id::{TaskId, VmId};
use vmm_core::vm::is_absolute_path;
use vmm_proto::v1::{
    BulkOperation, BulkVms, DeleteVm, DestroyVm, Fault, FaultCode, PauseVm, RebootVm, Reply,
    Request, RestoreVm, ResumeVm, SaveVm, SavedFormat, ShutdownVm, StartVm, SuspendVm, TaskState,
    UnpauseVm,
};

use super::change::Change;
use super::evacuate;
use super::task::stop;
use crate::app::{App, Detail, Origin, State, Target};
use crate::store::{Item, TaskRecord};

/// VMs of one request.
const ITEMS_MAX: usize = 1000;
/// How long a guest may take, if nobody says.
const WAIT_MS: u64 = 60_000;
/// While nothing changes, it is looked whether more can begin.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Failures that the parent names.
const NAMED_MAX: usize = 5;
/// Steps in which progress is told.
const PROGRESS_STEPS: usize = 50;

/// Stores the parent and starts to drive it.
pub(super) fn begin(change: Change<'_>, bulk: BulkVms) -> Result<Reply, Fault> {
    check(&bulk)?;
    let items = items(change.state, &bulk)?;
    let record = change.app.begin_parent(change.state, items, change.origin)?;
    let shown = change.state.show_task(&record, Detail::Full);
    spawn(change.app, record.id);
    Ok(Reply::Task(Box::new(shown)))
}

fn check(bulk: &BulkVms) -> Result<(), Fault> {
    let bad = |message: String| Err(Fault::new(FaultCode::BadRequest, message));
    if bulk.vms.is_empty() || bulk.vms.len() > ITEMS_MAX {
        return bad(format!("{} VMs are refused: name 1 to {ITEMS_MAX}", bulk.vms.len()));
    }
    match (&bulk.directory, bulk.operation) {
        (None, BulkOperation::Save) => {
            bad("say with `directory` where on their hosts the VMs are saved".to_owned())
        }
        (Some(directory), BulkOperation::Save) if !is_absolute_path(directory) => {
            bad(format!("directory {directory:?} is refused: name it by its absolute path"))
        }
        (Some(_), operation) if operation != BulkOperation::Save => {
            bad("only Save puts something into a directory".to_owned())
        }
        _ => Ok(()),
    }
}

/// Each VM once, in the order in which they were named.
fn items(state: &State, bulk: &BulkVms) -> Result<Vec<Item>, Fault> {
    let mut items: Vec<Item> = Vec::with_capacity(bulk.vms.len());
    let mut seen = BTreeSet::new();
    for named in &bulk.vms {
        let vm = &state.vm_named(&named.vm)?.record;
        if !seen.insert(vm.id) {
            let message = format!("VM {} is named twice", vm.spec.name);
            return Err(Fault::new(FaultCode::BadRequest, message));
        }
        items.push(Item { vm: vm.id, name: vm.spec.name.clone(), to: None });
    }
    Ok(items)
}

/// What is asked of one of them.
fn request_for(bulk: &BulkVms, item: &Item) -> Request {
    let vm = item.vm.to_string();
    let wait_ms_max = bulk.wait_ms_max.unwrap_or(WAIT_MS);
    match bulk.operation {
        BulkOperation::Start => Request::StartVm(StartVm { vm }),
        BulkOperation::Shutdown => Request::ShutdownVm(ShutdownVm { vm, wait_ms_max }),
        BulkOperation::Reboot => Request::RebootVm(RebootVm { vm, wait_ms_max }),
        BulkOperation::Pause => Request::PauseVm(PauseVm { vm }),
        BulkOperation::Unpause => Request::UnpauseVm(UnpauseVm { vm }),
        BulkOperation::Suspend => Request::SuspendVm(SuspendVm { vm, wait_ms_max }),
        BulkOperation::Resume => Request::ResumeVm(ResumeVm { vm }),
        BulkOperation::Save => {
            let directory = bulk.directory.as_deref().unwrap_or_default().trim_end_matches('/');
            let path = format!("{directory}/{}.save", item.name);
            let format = SavedFormat::default();
            Request::SaveVm(SaveVm { vm, path, format, wait_ms_max })
        }
        BulkOperation::Restore => Request::RestoreVm(RestoreVm { vm, path: None }),
        BulkOperation::Destroy => Request::DestroyVm(DestroyVm { vm }),
        BulkOperation::Delete => Request::DeleteVm(DeleteVm { vm }),
    }
}

/// Goes on with the parents that are open.
pub(crate) fn resume(app: &Arc<App>) {
    let open: Vec<TaskId> = {
        let state = app.lock();
        let parents = state.tasks.values().filter(|task| !task.record.items.is_empty());
        let open = parents.filter(|task| !task.record.is_over());
        open.inspect(|task| {
            if task.record.shown.state == TaskState::Cancelling {
                task.cancel.cancel();
            }
        })
        .map(|task| task.record.id)
        .collect()
    };
    for parent in open {
        spawn(app, parent);
    }
}

/// Follows the parts of a task, and begins those that are not begun yet.
pub(super) fn spawn(app: &Arc<App>, parent: TaskId) {
    let own = Arc::clone(app);
    app.jobs.spawn(async move {
        tokio::select! {
            biased;
            () = own.stop.cancelled() => {}
            () = drive(&own, parent) => {}
        }
    });
}

/// Where the parts of a task stand. What is over stays so: only what is open is looked at again.
#[derive(Default)]
struct Standing {
    over: usize,
    open: BTreeSet<VmId>,
    /// Items before this one have been begun.
    next: usize,
}

impl Standing {
    /// Looks at what is open, and at what was begun by others; calls `begin` for further parts while less than `open_max` are open.
    fn look(
        &mut self,
        state: &mut State,
        record: &TaskRecord,
        open_max: usize,
        mut begin: impl FnMut(&mut State, &Item),
    ) {
        self.open.retain(|vm| is_open(state, record, *vm).unwrap_or(false));
        while let Some(item) = record.items.get(self.next) {
            let mut open = is_open(state, record, item.vm);
            if open.is_none() && self.open.len() < open_max {
                begin(state, item);
                open = is_open(state, record, item.vm);
            }
            // Not begun: enough are open, or a store that takes nothing more ends this manager's part.
            let Some(open) = open else { break };
            if open {
                self.open.insert(item.vm);
            }
            self.next += 1;
        }
        self.over = self.next - self.open.len();
    }
}

/// Is a part under way? `None` when it was not begun.
fn is_open(state: &State, record: &TaskRecord, vm: VmId) -> Option<bool> {
    state.child_of(record.id, vm).map(|child| !child.is_over())
}

async fn drive(app: &Arc<App>, parent: TaskId) {
    let mut changes = app.changes();
    let mut standing = Standing::default();
    // Its items and what was asked for stay; they may be a thousand, so they are not taken again and again.
    let Some(record) = look(app, parent) else { return };
    loop {
        changes.borrow_and_update();
        let Some(cancelled) = is_cancelled(app, parent) else { return };
        let shown = steps_shown(standing.over, record.items.len());
        advance(app, &record, &mut standing, cancelled);
        if steps_shown(standing.over, record.items.len()) != shown {
            note_progress(app, &record, standing.over);
        }
        let nothing_more = cancelled || standing.next == record.items.len();
        if standing.open.is_empty() && nothing_more {
            return finish(app, &record, cancelled);
        }
        // What waits for nothing but time is looked at again, too.
        if matches!(timeout(LOOK_AGAIN, changes.changed()).await, Ok(Err(_))) {
            return;
        }
    }
}

fn look(app: &App, parent: TaskId) -> Option<TaskRecord> {
    app.lock().tasks.get(&parent).map(|task| task.record.clone())
}

/// `None` when it is gone.
fn is_cancelled(app: &App, parent: TaskId) -> Option<bool> {
    let state = app.lock();
    state.tasks.get(&parent).map(|task| task.record.shown.state == TaskState::Cancelling)
}

/// A task is stored whole, so its progress is told in so many steps at most.
fn steps_shown(over: usize, all: usize) -> usize {
    over * PROGRESS_STEPS / all.max(1)
}

/// Begins what may be begun, or cancels what waits.
fn advance(app: &Arc<App>, record: &TaskRecord, standing: &mut Standing, cancelled: bool) {
    let mut state = app.lock();
    if cancelled {
        standing.look(&mut state, record, 0, |_, _| {});
        cancel_waiting(app, &mut state, record, standing);
        standing.look(&mut state, record, 0, |_, _| {});
        return;
    }
    let usual = app.config.bulk_open_max;
    let open_max = evacuate::of_task(record).map_or(usual, evacuate::at_once);
    standing.look(&mut state, record, open_max, |state, item| {
        begin_part(app, state, record, item);
    });
}

/// As a part of it.
pub(super) fn origin_of(record: &TaskRecord, request: Request) -> Origin {
    Origin {
        key: None,
        initiator: record.shown.initiator.clone().unwrap_or_default(),
        request: Box::new(request),
        retry_of: None,
        parent: Some(record.id),
    }
}

fn begin_part(app: &Arc<App>, state: &mut State, record: &TaskRecord, item: &Item) {
    let Some(Request::BulkVms(bulk)) = record.request.as_deref() else {
        return evacuate::begin_part(app, state, record, item);
    };
    let request = request_for(bulk, item);
    let origin = origin_of(record, request.clone());
    let change = Change { app, state, origin: origin.clone() };
    if let Err(fault) = super::carry_out(change, request) {
        let target = Target::Vm(item.vm, item.name.clone());
        app.refused(state, target, &origin, fault);
    }
}

fn cancel_waiting(app: &Arc<App>, state: &mut State, record: &TaskRecord, standing: &Standing) {
    let children = standing.open.iter().filter_map(|vm| state.child_of(record.id, *vm));
    // What has begun ends as it would; but an evacuation that is not wanted moves nobody any more.
    let runs_too = evacuate::of_task(record).is_some();
    let may_stop = |child: &&TaskRecord| {
        child.is_queued() || (runs_too && child.shown.state == TaskState::Running)
    };
    let waiting: Vec<TaskRecord> = children.filter(may_stop).cloned().collect();
    for child in waiting {
        // What cannot be stored now is looked at again.
        let _ = stop(app, state, child, "the task that it is a part of");
    }
}

fn note_progress(app: &App, of: &TaskRecord, over: usize) {
    let step = match evacuate::of_task(of) {
        Some(_) => evacuate::step(&app.lock(), of, over),
        None => format!("{over} of {}", of.items.len()),
    };
    app.update_task(of.id, |record| {
        record.shown.progress_done = u64::try_from(over).ok();
        record.shown.step = step;
    });
}

fn finish(app: &Arc<App>, record: &TaskRecord, cancelled: bool) {
    if evacuate::of_task(record).is_some() {
        return evacuate::finish(app, record, cancelled);
    }
    let (mut failed, mut done) = (Vec::new(), 0);
    {
        let state = app.lock();
        for item in &record.items {
            match state.child_of(record.id, item.vm).map(|child| &child.shown) {
                Some(child) if child.state == TaskState::Done => done += 1,
                Some(child) => failed.push((item.name.clone(), child.fault.clone())),
                None => {}
            }
        }
    }
    let all = record.items.len();
    let (end, fault) = if cancelled {
        let message = format!("cancelled; {done} of {all} VMs were done by then");
        (TaskState::Cancelled, Some(Fault::new(FaultCode::Cancelled, message)))
    } else if failed.is_empty() {
        (TaskState::Done, None)
    } else {
        (TaskState::Failed, Some(failure(&failed, all)))
    };
    app.finish_task(record.id, end, fault.map(|fault| fault.at(super::HOP)));
}

/// Says which failed, and of the first ones why.
fn failure(failed: &[(String, Option<Fault>)], all: usize) -> Fault {
    let named = failed.iter().take(NAMED_MAX).map(|(name, fault)| match fault {
        Some(fault) => format!("{name}: {}", fault.message),
        None => name.clone(),
    });
    let named = named.collect::<Vec<_>>().join("; ");
    let more = match failed.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let code = failed.iter().find_map(|(_, fault)| fault.as_ref()).map(|fault| fault.code);
    let message = format!("{} of {all} VMs failed: {named}{more}", failed.len());
    Fault::new(code.unwrap_or(FaultCode::Internal), message)
}
