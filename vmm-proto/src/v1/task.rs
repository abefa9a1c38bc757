//! Tasks: changes under way. Every request to the manager that changes a VM answers with one.

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::vm::{Memory, Placement, Vcpus};

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState {
    /// Under way.
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

/// A change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    #[serde(rename = "@task")]
    pub task: String,
    /// The verb that started it.
    #[serde(rename = "@verb")]
    pub verb: String,
    /// The VM that it is about.
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
}

/// The latest tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tasks {
    /// The newest first.
    #[serde(rename = "Task", default)]
    pub tasks: Vec<Task>,
}

/// To the manager: the latest tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListTasks {}

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
