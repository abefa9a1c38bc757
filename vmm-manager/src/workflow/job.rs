//! A change under way: asks the workflow what is next, does it, and reports.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use vmm_core::id::{HostId, TaskId, VmId};
use vmm_core::task::{Next, Outcome, Workflow};
use vmm_proto::v1::{Fault, FaultCode, TaskState};

use super::{Action, Leg};
use crate::app::App;
use crate::store::{Course, TaskRecord};

/// One task's work.
pub(crate) struct Job {
    pub(super) task: TaskId,
    pub(super) vm: VmId,
    pub(super) host: HostId,
    pub(super) cancel: CancellationToken,
    /// What the agent was told may have been done, or not: nobody knows until the host is heard.
    pub(super) unresolved: bool,
    /// The VM was built, whatever became of it then; of a move, that an end of it could not be told to take it back.
    pub(super) built: bool,
    /// The step that was under way may have been told by the last manager.
    in_doubt: bool,
    pub(super) flow: Workflow<Action>,
    fault: Option<Fault>,
}

/// Of a change that concerns no host.
const NOWHERE: HostId = HostId::from_bytes([0; 16]);

impl Job {
    /// What is left of a task; `None` when it says no plan.
    pub(crate) fn of(record: &TaskRecord, cancel: CancellationToken) -> Option<Self> {
        let course = &record.course;
        let flow = record.plan.as_ref()?.workflow(course.position());
        let step = course.begun.checked_sub(1).and_then(|last| flow.steps().get(last));
        let in_doubt =
            course.in_step && step.is_some_and(|step| matches!(step.action, Action::Tell(..)));
        Some(Self {
            task: record.id,
            vm: record.vm,
            host: record.host.unwrap_or(NOWHERE),
            cancel,
            unresolved: course.unresolved || in_doubt,
            built: course.built,
            in_doubt,
            flow,
            fault: course.fault.clone(),
        })
    }

    /// What another manager needs to go on from here.
    fn course(&self) -> Course {
        let (unresolved, built, fault) = (self.unresolved, self.built, self.fault.clone());
        Course { unresolved, built, fault, ..Course::at(self.flow.position()) }
    }

    /// Says where it stands. What follows waits until that is stored.
    fn note(&self, app: &App, step: String, line: &str) {
        let now_ms = app.now_ms();
        app.update_task(self.task, |record| {
            record.course = self.course();
            record.show_steps(&self.flow);
            record.log(now_ms, line);
            record.shown.step = step;
        });
    }

    async fn run(mut self, app: &Arc<App>) {
        tracing::info!(task_id = %self.task, vm_id = %self.vm, host_id = %self.host, "task begins");
        let outcome = loop {
            // What may have been told is asked for first: only then is it known what there is to take back.
            let in_doubt = std::mem::take(&mut self.in_doubt);
            if self.cancel.is_cancelled() && !in_doubt {
                self.take_back(app);
            }
            match self.flow.step() {
                Next::Do(name, action) => self.go_on(app, name, action).await,
                Next::Undo(name, action) => self.go_back(app, name, action).await,
                Next::Finished(outcome) => break outcome,
            }
        };
        self.finish(app, outcome);
    }

    /// A cancellation that comes after the last step comes too late; so does one of a restore whose guest has gone on, and of a move whose VM is
    /// the other host's.
    fn take_back(&mut self, app: &App) {
        let (done, all) = self.flow.progress();
        let goes_on = self.built && app.lock().is_restored(self.vm);
        if done < all && !goes_on && !self.is_handed_over() {
            self.flow.cancel();
            self.fault.get_or_insert_with(cancelled);
        }
    }

    async fn go_on(&mut self, app: &App, name: &'static str, action: Action) {
        let (done, all) = self.flow.progress();
        self.note(app, format!("{name} ({} of {all})", done + 1), name);
        match self.act(app, name, action).await {
            Ok(()) => self.flow.succeeded(),
            Err(fault) => {
                app.log_task(self.task, &format!("{name}: {fault}"));
                tracing::warn!(task_id = %self.task, step = name, fault = %fault, "a step failed");
                let fault = if self.cancel.is_cancelled() { cancelled() } else { fault };
                self.fault.get_or_insert(fault);
                self.flow.failed();
            }
        }
    }

    async fn go_back(&mut self, app: &App, name: &'static str, action: Action) {
        let step = format!("taking back: {name}");
        self.note(app, step.clone(), &step);
        match self.act_back(app, name, action).await {
            Ok(()) => self.flow.succeeded(),
            Err(fault) => {
                app.log_task(self.task, &format!("{step}: {fault}"));
                tracing::error!(task_id = %self.task, step = name, fault = %fault, "a step could not be taken back");
                self.flow.failed();
            }
        }
    }

    /// The destination of a move, when nothing but what it was to prepare is left.
    fn half_copy_at(&self, left: &[&'static str]) -> Option<HostId> {
        let steps = self.flow.steps();
        let is_prepared = |action: &Action| matches!(action, Action::Move(_, Leg::Receive));
        let prepare = steps.iter().find(|step| is_prepared(&step.action))?;
        match &prepare.action {
            Action::Move(of, _) if left == [prepare.name] => Some(of.moving.destination),
            _ => None,
        }
    }

    fn finish(mut self, app: &Arc<App>, outcome: Outcome) {
        app.update_task(self.task, |record| record.show_steps(&self.flow));
        let (state, fault) = match (outcome, self.fault.take()) {
            (Outcome::Done, _) => (TaskState::Done, None),
            (Outcome::RolledBack, Some(fault)) if fault.code == FaultCode::Cancelled => {
                (TaskState::Cancelled, Some(fault))
            }
            (Outcome::RolledBack, fault) => (TaskState::Failed, fault),
            (Outcome::LeftOver(steps), fault) => {
                let rest = match self.half_copy_at(&steps) {
                    Some(host) => {
                        let host = app.lock().host_name(host);
                        format!(
                            "the VM is where it was; what host {host} may have of it is removed when that host is heard again"
                        )
                    }
                    None => format!(
                        "could not be taken back: {}. The VM keeps its host and reservation until that host is heard again",
                        steps.join(", ")
                    ),
                };
                (TaskState::Failed, Some(left_over(fault, &rest)))
            }
        };
        let code = fault.as_ref().map(|fault| fault.code);
        tracing::info!(task_id = %self.task, ?state, ?code, "task ends");
        app.finish_task(self.task, state, fault.map(|fault| fault.at("manager")));
    }
}

pub(super) fn cancelled() -> Fault {
    Fault::new(FaultCode::Cancelled, "cancelled, and taken back")
}

/// Says what is not as it was.
fn left_over(fault: Option<Fault>, rest: &str) -> Fault {
    let mut fault =
        fault.unwrap_or_else(|| Fault::new(FaultCode::HostUnreachable, "taking back failed"));
    fault.message = format!("{}; {rest}", fault.message);
    fault
}

impl App {
    /// Runs a job until it is over, or the manager stops.
    pub(crate) fn spawn(self: &Arc<Self>, job: Job) {
        let app = Arc::clone(self);
        self.jobs.spawn(async move {
            tokio::select! {
                biased;
                () = app.stop.cancelled() => {}
                () = job.run(&app) => {}
            }
        });
    }
}
