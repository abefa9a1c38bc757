//! Tasks as callers see them, and the lines of their logs.

use vmm_core::task::{StepState, Workflow};
use vmm_proto::v1::{self, PhaseStatus, TaskChild, TaskLine, TaskPhase, TaskState};

use super::state::State;
use crate::store::{Item, TaskRecord};
use crate::workflow::Action;

/// Lines of a log that are kept.
const LINES_MAX: usize = 64;
/// Of one line.
const LINE_CHARS_MAX: usize = 400;

/// How much of a task is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Among others.
    Brief,
    /// By itself: its log, its children, its place.
    Full,
}

impl TaskRecord {
    /// Adds a line to its log; the oldest goes when there are too many.
    pub(crate) fn log(&mut self, at_ms: u64, text: &str) {
        let text = text.chars().take(LINE_CHARS_MAX).collect();
        self.shown.lines.push(TaskLine { at_ms, text });
        let more = self.shown.lines.len().saturating_sub(LINES_MAX);
        self.shown.lines.drain(..more);
    }

    /// Shows where the steps stand.
    pub(crate) fn show_steps(&mut self, flow: &Workflow<Action>) {
        let phase = |(name, state): (&str, StepState)| TaskPhase {
            name: name.to_owned(),
            status: match state {
                StepState::Waiting => PhaseStatus::Waiting,
                StepState::Running => PhaseStatus::Running,
                StepState::Done => PhaseStatus::Done,
                StepState::TakingBack => PhaseStatus::TakingBack,
                StepState::TakenBack => PhaseStatus::TakenBack,
                StepState::LeftOver => PhaseStatus::LeftOver,
            },
        };
        self.shown.phases = flow.states().map(phase).collect();
        let (done, all) = flow.progress();
        self.shown.progress_done = u64::try_from(done).ok();
        self.shown.progress_all = u64::try_from(all).ok();
    }
}

impl State {
    /// A task as callers see it.
    pub(crate) fn show_task(&self, record: &TaskRecord, detail: Detail) -> v1::Task {
        let mut shown = record.shown.clone();
        match detail {
            Detail::Brief => shown.lines = Vec::new(),
            Detail::Full => {
                shown.place = self.place(record.id);
                shown.children = self.show_children(record);
                if !record.is_over()
                    && record.plan.as_ref().is_some_and(|plan| plan.moves().is_some())
                {
                    shown.migration = self.shown_migration(record.vm);
                }
            }
        }
        shown
    }

    fn show_children(&self, record: &TaskRecord) -> Vec<TaskChild> {
        record.items.iter().map(|item| self.show_child(record, item)).collect()
    }

    fn show_child(&self, parent: &TaskRecord, item: &Item) -> TaskChild {
        let (vm, vm_name) = (item.vm.to_string(), item.name.clone());
        let planned = item.to.map(|host| self.host_name(host));
        let Some(child) = self.child_of(parent.id, item.vm) else {
            let state = if parent.is_over() { TaskState::Cancelled } else { TaskState::Queued };
            return TaskChild { vm, vm_name, state, host: planned, ..TaskChild::default() };
        };
        let decided = child.shown.placement.as_ref().map(|placement| placement.chosen.clone());
        let fault = child.shown.fault.as_ref();
        TaskChild {
            vm,
            vm_name,
            state: child.shown.state,
            task: Some(child.shown.task.clone()),
            host: decided.unwrap_or(planned),
            code: fault.map(|fault| fault.code),
            message: fault.map(|fault| fault.message.clone()),
        }
    }
}
