//! Tasks: changes under way. Every request to the manager that changes a VM answers with one, and every change leaves one.

use serde::{Deserialize, Serialize};

use super::fault::{Fault, FaultCode};
use super::migration::Migration;
use super::vm::{Memory, Placement, Vcpus};

/// Where a task stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TaskState {
    /// Decided and stored; it waits for its turn.
    Queued,
    /// Under way.
    #[default]
    Running,
    /// Asked to stop; being taken back.
    Cancelling,
    /// Done.
    Done,
    /// It failed and was taken back.
    Failed,
    /// It was cancelled and taken back.
    Cancelled,
}

impl TaskState {
    /// Nothing more will happen.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// What a task is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetKind {
    /// One VM.
    Vm,
    /// Several VMs: the task has children.
    Vms,
    /// A host.
    Host,
    /// A pool.
    Pool,
    /// A site.
    Site,
    /// A group of VMs.
    Group,
}

/// Where a phase of a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PhaseStatus {
    /// Not begun.
    Waiting,
    /// Under way.
    Running,
    /// Done.
    Done,
    /// Being taken back.
    TakingBack,
    /// Taken back.
    TakenBack,
    /// It could not be taken back: somebody must look.
    LeftOver,
}

/// One step of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPhase {
    /// What it does, in a word or two.
    #[serde(rename = "@name")]
    pub name: String,
    /// Where it stands.
    #[serde(rename = "@status")]
    pub status: PhaseStatus,
}

/// One line of a task's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLine {
    /// When, since 1970-01-01T00:00:00Z.
    #[serde(rename = "@at-ms")]
    pub at_ms: u64,
    /// What happened.
    #[serde(rename = "@text")]
    pub text: String,
}

/// One VM of a task that is about several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskChild {
    /// The VM's id.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// The VM's name.
    #[serde(rename = "@vm-name")]
    pub vm_name: String,
    /// Where its part stands.
    #[serde(rename = "@state")]
    pub state: TaskState,
    /// The task that does its part; missing until it was decided, and where it was refused.
    #[serde(rename = "@task", default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The name of the host that it is put on, or moves to, as was decided for it.
    #[serde(rename = "@host", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Why its part failed, for programs.
    #[serde(rename = "@code", default, skip_serializing_if = "Option::is_none")]
    pub code: Option<FaultCode>,
    /// Why its part failed, for people.
    #[serde(rename = "@message", default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    #[serde(rename = "@task")]
    pub task: String,
    /// The verb that started it.
    #[serde(rename = "@verb")]
    pub verb: String,
    /// The VM that it is about; empty when it is about something else.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// The VM's name.
    #[serde(rename = "@vm-name")]
    pub vm_name: String,
    /// Where it stands.
    #[serde(rename = "@state")]
    pub state: TaskState,
    /// The step it is at, in words.
    #[serde(rename = "@step")]
    pub step: String,
    /// What it is about.
    #[serde(rename = "@target-kind", default, skip_serializing_if = "Option::is_none")]
    pub target_kind: Option<TargetKind>,
    /// The id of that; missing when it is several.
    #[serde(rename = "@target", default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The name of that, as it was then.
    #[serde(rename = "@target-name", default, skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
    /// The host that it is carried out on, by name.
    #[serde(rename = "@host", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Who asked for it: `ROLE/NAME`, or the manager's own reconciler.
    #[serde(rename = "@initiator", default, skip_serializing_if = "Option::is_none")]
    pub initiator: Option<String>,
    /// When it was decided, since 1970-01-01T00:00:00Z.
    #[serde(rename = "@created-ms", default, skip_serializing_if = "Option::is_none")]
    pub created_ms: Option<u64>,
    /// When it began.
    #[serde(rename = "@started-ms", default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
    /// When it ended.
    #[serde(rename = "@finished-ms", default, skip_serializing_if = "Option::is_none")]
    pub finished_ms: Option<u64>,
    /// Steps done, or VMs where it is about several.
    #[serde(rename = "@progress-done", default, skip_serializing_if = "Option::is_none")]
    pub progress_done: Option<u64>,
    /// Of so many.
    #[serde(rename = "@progress-all", default, skip_serializing_if = "Option::is_none")]
    pub progress_all: Option<u64>,
    /// While it is queued: its place among those that wait for the same, 1 is the next.
    #[serde(rename = "@place", default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u64>,
    /// While it is queued: what it waits for.
    #[serde(rename = "@waits-for", default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// The task that it is another try of.
    #[serde(rename = "@retry-of", default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<String>,
    /// The task that it is a part of.
    #[serde(rename = "@parent", default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Why it failed.
    #[serde(rename = "Fault", default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Where the VM was put, when it was.
    #[serde(rename = "Placement", default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// What the guest did with its vCPUs.
    #[serde(rename = "Vcpus", default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<Vcpus>,
    /// What the guest did with its memory.
    #[serde(rename = "Memory", default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// How far the VM's move is. Of one task only, not in lists.
    #[serde(rename = "Migration", default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<Migration>,
    /// Its steps, in order.
    #[serde(rename = "TaskPhase", default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<TaskPhase>,
    /// The VMs that it is about, when they are several. Of one task only, not in lists.
    #[serde(rename = "TaskChild", default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<TaskChild>,
    /// The latest lines of its log. Of one task only, not in lists.
    #[serde(rename = "TaskLine", default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<TaskLine>,
}

/// A page of tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tasks {
    /// Ask for those after this; missing on the last page.
    #[serde(rename = "@next", default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The newest first.
    #[serde(rename = "Task", default)]
    pub tasks: Vec<Task>,
}

/// To the manager: tasks, the newest first, a page at a time. What is said must hold for each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListTasks {
    /// The `next` of the page before.
    #[serde(rename = "@after", default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many; when missing, as many as the manager gives.
    #[serde(rename = "@count-max", default, skip_serializing_if = "Option::is_none")]
    pub count_max: Option<u32>,
    /// In this state.
    #[serde(rename = "@state", default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TaskState>,
    /// Over, or not.
    #[serde(rename = "@over", default, skip_serializing_if = "Option::is_none")]
    pub over: Option<bool>,
    /// About this VM: its id, or its name now or then.
    #[serde(rename = "@vm", default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// On, or about, this host: id or name.
    #[serde(rename = "@host", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Asked for by this one.
    #[serde(rename = "@initiator", default, skip_serializing_if = "Option::is_none")]
    pub initiator: Option<String>,
    /// Decided at this time or later, since 1970-01-01T00:00:00Z.
    #[serde(rename = "@since-ms", default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Parts of this task.
    #[serde(rename = "@parent", default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// To the manager: answer when the task is over, or after the wait at the latest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitTask {
    /// Its id.
    #[serde(rename = "@task")]
    pub task: String,
    /// Answer after this time even when it is not over.
    #[serde(rename = "@wait-ms-max")]
    pub wait_ms_max: u64,
}

/// To the manager: take a task back, if that is still possible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelTask {
    /// Its id.
    #[serde(rename = "@task")]
    pub task: String,
}

/// To the manager: ask again for what a task that failed or was cancelled was to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryTask {
    /// Its id.
    #[serde(rename = "@task")]
    pub task: String,
}

/// What may be asked for many VMs at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BulkOperation {
    /// As `StartVm`.
    Start,
    /// As `ShutdownVm`.
    Shutdown,
    /// As `RebootVm`.
    Reboot,
    /// As `PauseVm`.
    Pause,
    /// As `UnpauseVm`.
    Unpause,
    /// As `SuspendVm`.
    Suspend,
    /// As `ResumeVm`.
    Resume,
    /// As `SaveVm`, each to `NAME.save` in the directory.
    Save,
    /// As `RestoreVm`.
    Restore,
    /// As `DestroyVm`.
    Destroy,
    /// As `DeleteVm`.
    Delete,
}

/// A VM by its id or name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmRef {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
}

/// To the manager: do the same with many VMs, a few at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkVms {
    /// What.
    #[serde(rename = "@operation")]
    pub operation: BulkOperation,
    /// How long each guest may take, where it is asked.
    #[serde(rename = "@wait-ms-max", default, skip_serializing_if = "Option::is_none")]
    pub wait_ms_max: Option<u64>,
    /// Where `Save` puts the files, on each VM's host: an absolute path.
    #[serde(rename = "@directory", default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// With which, in this order.
    #[serde(rename = "VmRef", default)]
    pub vms: Vec<VmRef>,
}
