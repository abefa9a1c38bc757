//! Takes up what was under way when the last manager ended.

use std::sync::Arc;

use vmm_proto::v1::{Fault, FaultCode, TaskState, VmPhase};

use crate::app::{App, State};
use crate::store::TaskRecord;
use crate::workflow::{Construction, Job, resume_define_plan, resume_plan};

const CREATE: &str = "CreateVm";
const START: &str = "StartVm";
const RESTORE: &str = "RestoreVm";

/// A VM that was being built can be taken up: its host says whether it was. So can a change of a definition: the agent knows its key.
fn can_resume(state: &State, task: &TaskRecord) -> bool {
    let building = [CREATE, START, RESTORE].contains(&task.shown.verb.as_str());
    state
        .vms
        .get(&task.vm)
        .filter(|vm| vm.record.host.is_some())
        .is_some_and(|vm| task.told.is_some() || (building && vm.record.phase == VmPhase::Starting))
}

fn construction(verb: &str) -> Construction {
    match verb {
        CREATE => Construction::New,
        // It was told the file already.
        RESTORE => Construction::Restore(String::new()),
        _ => Construction::Start,
    }
}

/// Ends the tasks that cannot be taken up: their VM's state comes with its host's next report.
pub(crate) fn give_up_unresumable(app: &App) {
    let lost: Vec<_> = {
        let state = app.lock();
        let open = state.tasks.values().map(|task| &task.record).filter(|task| !task.is_over());
        open.filter(|task| !can_resume(&state, task)).map(|task| task.id).collect()
    };
    for task in lost {
        let message = "the manager was restarted while this was under way; look at the VM, and ask again if need be";
        let fault = Fault::new(FaultCode::TimedOut, message).at("manager");
        app.finish_task(task, TaskState::Failed, Some(fault));
    }
}

/// Goes on with the others.
pub(crate) fn resume(app: &Arc<App>) {
    let state = app.lock();
    for task in state.tasks.values().filter(|task| !task.record.is_over()) {
        let record = &task.record;
        let host = state.vms.get(&record.vm).and_then(|vm| vm.record.host);
        let Some(host) = host else { continue };
        if record.shown.state == TaskState::Cancelling {
            task.cancel.cancel();
        }
        let flow = match &record.told {
            Some(told) => resume_define_plan(told),
            None => resume_plan(&construction(&record.shown.verb)),
        };
        let job = Job::new(record.id, record.vm, host, task.cancel.clone(), flow);
        app.spawn(if record.told.is_some() { job.in_doubt() } else { job });
    }
}
