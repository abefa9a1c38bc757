//! Takes up what was under way when the last manager ended.
//!
//! A task says what it does and how far it is, so it goes on there; a queued one waits on. Tasks of older managers say less: a build and a
//! change of a definition can be taken up all the same, the others are given up, and their VM's state comes with its host's next report.

use std::sync::Arc;

use vmm_core::task::Position;
use vmm_proto::v1::{Fault, FaultCode, TaskState, VmPhase};

use crate::app::{App, State};
use crate::store::{Course, Put, TaskRecord};
use crate::workflow::{Construction, Job, Plan};

/// What an older manager's task was doing.
fn plan_of_old(state: &State, task: &TaskRecord) -> Option<TaskRecord> {
    let vm = state.vms.get(&task.vm).filter(|vm| vm.record.host.is_some())?;
    let building = match task.shown.verb.as_str() {
        "CreateVm" => Some(Construction::New),
        "StartVm" => Some(Construction::Start),
        // It was told the file already.
        "RestoreVm" => Some(Construction::Restore(String::new())),
        _ => None,
    };
    let building = building.filter(|_| vm.record.phase == VmPhase::Starting);
    let (plan, begun) = match (&task.told, building) {
        (Some(told), _) => (Plan::Define(Box::new(told.clone())), 1),
        (None, Some(construction)) => (Plan::Build(construction), 2),
        (None, None) => return None,
    };
    let at = Position { begun, reached: begun, in_step: true, ..Position::default() };
    let (plan, course) = (Some(plan), Course::at(&at));
    Some(TaskRecord { plan, course, told: None, host: vm.record.host, ..task.clone() })
}

/// Ends the tasks that cannot be taken up, and says of those of older managers what they do.
pub(crate) fn give_up_unresumable(app: &Arc<App>) {
    let (known, lost): (Vec<_>, Vec<_>) = {
        let state = app.lock();
        let open = state.tasks.values().map(|task| &task.record).filter(|task| !task.is_over());
        let unplanned = open.filter(|task| task.plan.is_none() && task.items.is_empty());
        let looked_at = unplanned.map(|task| (plan_of_old(&state, task), task.id));
        looked_at.partition(|(planned, _)| planned.is_some())
    };
    let puts: Vec<_> = known.into_iter().filter_map(|(task, _)| task).map(Box::new).collect();
    app.lock().commit_facts(puts.into_iter().map(Put::Task).collect());
    for (_, task) in lost {
        let message = "the manager was restarted while this was under way; look at the VM, and ask again if need be";
        let fault = Fault::new(FaultCode::TimedOut, message).at("manager");
        app.finish_task(task, TaskState::Failed, Some(fault));
    }
}

/// Goes on with the others.
pub(crate) fn resume(app: &Arc<App>) {
    let jobs: Vec<Job> = {
        let state = app.lock();
        let begun =
            state.tasks.values().filter(|task| !task.record.is_over() && !task.record.is_queued());
        let jobs = begun.filter_map(|task| {
            if task.record.shown.state == TaskState::Cancelling {
                task.cancel.cancel();
            }
            Job::of(&task.record, task.cancel.clone())
        });
        jobs.collect()
    };
    for job in jobs {
        app.spawn(job);
    }
    crate::api::resume_bulk(app);
    app.start_next();
}
