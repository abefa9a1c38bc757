//! A change under way: asks the workflow what is next, does it, and reports.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use vmm_core::id::{HostId, TaskId, VmId};
use vmm_core::task::{Next, Outcome, Workflow};
use vmm_proto::v1::{Fault, FaultCode, TaskState};

use super::Action;
use crate::app::App;

/// One task's work.
pub(crate) struct Job {
    pub(super) task: TaskId,
    pub(super) vm: VmId,
    pub(super) host: HostId,
    pub(super) cancel: CancellationToken,
    /// What the agent was told may have been done, or not: nobody knows until the host is heard.
    pub(super) unresolved: bool,
    /// The VM was built, whatever became of it then.
    pub(super) built: bool,
    flow: Workflow<Action>,
    fault: Option<Fault>,
}

impl Job {
    pub(crate) fn new(
        task: TaskId,
        vm: VmId,
        host: HostId,
        cancel: CancellationToken,
        flow: Workflow<Action>,
    ) -> Self {
        Self { task, vm, host, cancel, unresolved: false, built: false, flow, fault: None }
    }

    /// What was begun before a restart may have been done.
    pub(crate) fn in_doubt(mut self) -> Self {
        self.unresolved = true;
        self
    }

    async fn run(mut self, app: &App) {
        tracing::info!(task_id = %self.task, vm_id = %self.vm, host_id = %self.host, "task begins");
        let outcome = loop {
            if self.cancel.is_cancelled() {
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

    /// A cancellation that comes after the last step comes too late; so does one of a restore whose guest has gone on.
    fn take_back(&mut self, app: &App) {
        let (done, all) = self.flow.progress();
        let goes_on = self.built && app.lock().is_restored(self.vm);
        if done < all && !goes_on {
            self.flow.cancel();
            self.fault.get_or_insert_with(cancelled);
        }
    }

    async fn go_on(&mut self, app: &App, name: &'static str, action: Action) {
        let (done, all) = self.flow.progress();
        app.update_task(self.task, |task| task.step = format!("{name} ({} of {all})", done + 1));
        match self.act(app, name, action).await {
            Ok(()) => self.flow.succeeded(),
            Err(fault) => {
                tracing::warn!(task_id = %self.task, step = name, fault = %fault, "a step failed");
                let fault = if self.cancel.is_cancelled() { cancelled() } else { fault };
                self.fault.get_or_insert(fault);
                self.flow.failed();
            }
        }
    }

    async fn go_back(&mut self, app: &App, name: &'static str, action: Action) {
        app.update_task(self.task, |task| task.step = format!("taking back: {name}"));
        match self.act_back(app, name, action).await {
            Ok(()) => self.flow.succeeded(),
            Err(fault) => {
                tracing::error!(task_id = %self.task, step = name, fault = %fault, "a step could not be taken back");
                self.flow.failed();
            }
        }
    }

    fn finish(self, app: &App, outcome: Outcome) {
        let (state, fault) = match (outcome, self.fault) {
            (Outcome::Done, _) => (TaskState::Done, None),
            (Outcome::RolledBack, Some(fault)) if fault.code == FaultCode::Cancelled => {
                (TaskState::Cancelled, Some(fault))
            }
            (Outcome::RolledBack, fault) => (TaskState::Failed, fault),
            (Outcome::LeftOver(steps), fault) => {
                (TaskState::Failed, Some(left_over(fault, &steps)))
            }
        };
        let code = fault.as_ref().map(|fault| fault.code);
        tracing::info!(task_id = %self.task, ?state, ?code, "task ends");
        app.finish_task(self.task, state, fault.map(|fault| fault.at("manager")));
    }
}

fn cancelled() -> Fault {
    Fault::new(FaultCode::Cancelled, "cancelled, and taken back")
}

/// Says what could not be taken back.
fn left_over(fault: Option<Fault>, steps: &[&'static str]) -> Fault {
    let mut fault =
        fault.unwrap_or_else(|| Fault::new(FaultCode::HostUnreachable, "taking back failed"));
    let steps = steps.join(", ");
    fault.message = format!(
        "{}; could not be taken back: {steps}. The VM keeps its host and reservation until that host is heard again",
        fault.message
    );
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
