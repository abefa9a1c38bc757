//! Tasks: list, wait, cancel, try again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use vmm_proto::server::Caller;
use vmm_proto::v1::{
    CancelTask, Fault, FaultCode, ListTasks, Reply, Request, RetryTask, Task, TaskState, Tasks,
    WaitTask,
};

use super::named;
use crate::app::{App, Detail, State, store_fault};
use crate::store::{Put, TaskRecord};
use crate::view::{self, Page};
use crate::workflow::Job;

/// What of a caller's deadline is kept for the way back.
pub(super) const REPLY_MARGIN: Duration = Duration::from_millis(500);

/// A page, the newest first.
pub(super) fn list(app: &App, list: &ListTasks) -> Result<Reply, Fault> {
    let state = app.lock();
    let before = list.after.as_deref().map(parse_next).transpose()?;
    let mut records: Vec<&TaskRecord> = state
        .tasks
        .values()
        .map(|task| &task.record)
        .filter(|record| before.is_none_or(|before| record.number < before))
        .filter(|record| is_meant(&state, record, list))
        .collect();
    records.sort_by_key(|record| std::cmp::Reverse(record.number));
    let (mut page, mut tasks, mut last) = (Page::of(list.count_max), Vec::new(), None);
    for record in &records {
        let shown = state.show_task(record, Detail::Brief);
        if !page.take(view::of_task(&shown)) {
            break;
        }
        last = Some(record.number);
        tasks.push(shown);
    }
    let next = last.filter(|_| tasks.len() < records.len()).map(|number| format!("n{number}"));
    Ok(Reply::Tasks(Tasks { next, tasks }))
}

fn parse_next(text: &str) -> Result<u64, Fault> {
    let number = text.strip_prefix('n').and_then(|number| number.parse().ok());
    number.ok_or_else(|| {
        let message = "this is no `next` of ListTasks; begin without `after`";
        Fault::new(FaultCode::BadRequest, message)
    })
}

fn is_meant(state: &State, record: &TaskRecord, list: &ListTasks) -> bool {
    let shown = &record.shown;
    let says = |said: &Option<String>, has: &[Option<&str>]| {
        said.as_deref().is_none_or(|said| has.contains(&Some(said)))
    };
    let vm_now = state.vms.get(&record.vm).map(|vm| vm.record.spec.name.as_str());
    let host_id = record.host.map(|host| host.to_string());
    list.state.is_none_or(|wanted| shown.state == wanted)
        && list.over.is_none_or(|wanted| shown.state.is_over() == wanted)
        && list.since_ms.is_none_or(|since| shown.created_ms.is_some_and(|at| at >= since))
        && says(&list.vm, &[Some(&shown.vm), Some(&shown.vm_name), vm_now])
        && says(&list.initiator, &[shown.initiator.as_deref()])
        && says(&list.parent, &[shown.parent.as_deref()])
        && (says(&list.host, &[shown.host.as_deref(), host_id.as_deref()])
            || (shown.target_kind == Some(vmm_proto::v1::TargetKind::Host)
                && says(&list.host, &[shown.target.as_deref(), shown.target_name.as_deref()])))
}

/// Answers when the task is over, or when the wait is.
pub(super) async fn wait(app: &App, caller: &Caller, wait: &WaitTask) -> Result<Reply, Fault> {
    let asked = Duration::from_millis(wait.wait_ms_max).min(app.config.task_wait_max);
    let left = caller.deadline.map_or(asked, |deadline| deadline.saturating_sub(REPLY_MARGIN));
    let end = Instant::now() + asked.min(left);
    let mut changes = app.changes();
    loop {
        let is_over = app.lock().task_named(&wait.task)?.record.is_over();
        let ended = app.stop.is_cancelled();
        if is_over || ended || timeout_at(end, changes.changed()).await.is_err() {
            return Ok(Reply::Task(Box::new(find(app, &wait.task)?)));
        }
    }
}

fn find(app: &App, task: &str) -> Result<Task, Fault> {
    let state = app.lock();
    Ok(state.show_task(&state.task_named(task)?.record, Detail::Full))
}

/// Asks a task to stop between two steps and take back what it did. A queued one is taken back at once.
pub(super) fn cancel(app: &Arc<App>, caller: &Caller, cancel: &CancelTask) -> Result<Reply, Fault> {
    let mut state = app.lock();
    let entry = state.task_named(&cancel.task)?;
    let (record, token) = (entry.record.clone(), entry.cancel.clone());
    if record.is_over() {
        let message = "the task is over; there is nothing to cancel";
        return Err(Fault::new(FaultCode::BadState, message));
    }
    let shown = if record.shown.state == TaskState::Cancelling {
        state.show_task(&record, Detail::Full)
    } else {
        stop(app, &mut state, record.clone(), &super::who(&caller.principal))?
    };
    token.cancel();
    drop(state);
    app.tell_changed();
    Ok(Reply::Task(Box::new(shown)))
}

/// Stores that a task is to stop; a queued one begins, to be taken back.
pub(super) fn stop(
    app: &Arc<App>,
    state: &mut State,
    mut record: TaskRecord,
    who: &str,
) -> Result<Task, Fault> {
    let was_queued = record.is_queued();
    record.shown.state = TaskState::Cancelling;
    record.shown.waits_for = None;
    record.log(app.now_ms(), &format!("{who} asks to cancel it"));
    let shown = state.show_task(&record, Detail::Full);
    let token = state.tasks.get(&record.id).map(|entry| entry.cancel.clone()).unwrap_or_default();
    let job = Job::of(&record, token.clone()).filter(|_| was_queued);
    state.commit(vec![Put::Task(Box::new(record))]).map_err(|error| store_fault(&error))?;
    token.cancel();
    job.into_iter().for_each(|job| app.spawn(job));
    Ok(shown)
}

/// What a task that came to nothing was asked to do.
pub(super) fn asked_again(
    state: &State,
    retry: &RetryTask,
) -> Result<(Request, vmm_core::id::TaskId), Fault> {
    let record = &state.task_named(&retry.task)?.record;
    let bad = |message: &str| Err(Fault::new(FaultCode::BadState, message));
    match (&record.request, record.shown.state) {
        (_, TaskState::Done) => bad("the task is done; there is nothing to try again"),
        (_, open) if !open.is_over() => bad("the task is under way; wait for it, or cancel it"),
        (None, _) => bad("what was asked for is not remembered; ask for it anew"),
        (Some(request), _) => {
            let mut request = (**request).clone();
            // The name may be another VM's by now.
            if let Some(vm) = named::vm_of(&mut request) {
                *vm = record.vm.to_string();
            }
            let is_left = |item: &crate::store::Item| {
                let child = state.child_of(record.id, item.vm);
                child.is_none_or(|child| child.shown.state != TaskState::Done)
            };
            if let Request::CreateVms(create) = &mut request {
                let mut left = record.items.iter().map(is_left);
                create.vms.retain(|_| left.next().unwrap_or(true));
            }
            if let (Request::EvacuateHost(evacuate), Some(host)) = (&mut request, record.host) {
                evacuate.host = host.to_string();
            }
            if let Request::BulkVms(bulk) = &mut request {
                let left = record.items.iter().filter(|item| is_left(item));
                bulk.vms =
                    left.map(|item| vmm_proto::v1::VmRef { vm: item.vm.to_string() }).collect();
            }
            Ok((request, record.id))
        }
    }
}
