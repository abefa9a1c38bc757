//! Decisions of the scheduler, and all that they were made of: any of them can be looked into, and made again.

use serde::{Deserialize, Serialize};

use super::create::Placements;
use super::{Growth, Placement, Plan, TaskState};

/// To the manager: decisions, the latest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListDecisions {
    /// Of this VM only, by id or by the name that it had.
    #[serde(rename = "@vm", default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// Those before this one; from the latest when it is not said.
    #[serde(rename = "@before", default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// At most so many; when missing, as many as the manager gives.
    #[serde(rename = "@count-max", default, skip_serializing_if = "Option::is_none")]
    pub count_max: Option<u32>,
}

/// To the manager: one decision, made again of what it was made of, with every term.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowDecision {
    /// Its number.
    #[serde(rename = "@decision")]
    pub decision: u64,
}

/// To the manager: all that a decision was made of, as text, a piece at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadDecision {
    /// Its number.
    #[serde(rename = "@decision")]
    pub decision: u64,
    /// Where the piece begins, in bytes; at the beginning when it is not said.
    #[serde(rename = "@offset", default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// What was asked of the scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DecisionKind {
    /// Where one VM goes.
    #[default]
    Place,
    /// Where several go.
    Batch,
    /// Which moves pay.
    Rebalance,
    /// How a host is emptied.
    Evacuate,
    /// How a VM gets more.
    Grow,
    /// Where a VM goes that runs and is moved.
    Migration,
}

/// How far a plan is that the manager carries out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// Its moves are being made.
    #[default]
    UnderWay,
    /// All of them were made.
    Done,
    /// Some were not, and will not be.
    Stopped,
}

/// What came of a plan that the manager carries out by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarryOut {
    /// How far it is.
    #[serde(rename = "@progress")]
    pub progress: Progress,
    /// The name of the pool that it is for.
    #[serde(rename = "@pool")]
    pub pool: String,
    /// Why it was, or is being, stopped.
    #[serde(rename = "@reason", default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In the plan's order; of one decision only, not in lists.
    #[serde(rename = "CarriedMove", default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<CarriedMove>,
}

/// One of its moves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedMove {
    /// Who, by id.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// Who, by name.
    #[serde(rename = "@vm-name")]
    pub vm_name: String,
    /// The name of the host that it leaves.
    #[serde(rename = "@source")]
    pub source: String,
    /// The name of the host that it comes to.
    #[serde(rename = "@destination")]
    pub destination: String,
    /// Where it stands, as its task says; without a task it waits, or was not begun.
    #[serde(rename = "@state")]
    pub state: TaskState,
    /// The task that makes it; missing until it begins.
    #[serde(rename = "@task", default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Why it was not made.
    #[serde(rename = "@message", default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A decision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Its number: later ones have larger ones.
    #[serde(rename = "@decision")]
    pub decision: u64,
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    #[serde(rename = "@at-ms")]
    pub at_ms: u64,
    /// What was asked.
    #[serde(rename = "@question")]
    pub question: DecisionKind,
    /// The VM that it is about, when it is about one.
    #[serde(rename = "@vm", default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// What that was called.
    #[serde(rename = "@vm-name", default, skip_serializing_if = "Option::is_none")]
    pub vm_name: Option<String>,
    /// The task that carries it out; missing when nothing came of it.
    #[serde(rename = "@task", default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// In words.
    #[serde(rename = "@answer")]
    pub answer: String,
    /// Of one that places a VM, when it is shown.
    #[serde(rename = "Placement", default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Of one that places several, when it is shown.
    #[serde(rename = "Placements", default, skip_serializing_if = "Option::is_none")]
    pub placements: Option<Placements>,
    /// Of one that moves VMs, when it is shown.
    #[serde(rename = "Plan", default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// Of one that gives a VM more, or moves it, when it is shown: the ways there are.
    #[serde(rename = "Growth", default, skip_serializing_if = "Option::is_none")]
    pub growth: Option<Growth>,
    /// What came of its moves, where the manager makes them by itself.
    #[serde(rename = "CarryOut", default, skip_serializing_if = "Option::is_none")]
    pub carry_out: Option<CarryOut>,
}

/// Some of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decisions {
    /// There are more, before this one.
    #[serde(rename = "@next", default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// The latest first.
    #[serde(rename = "Decision", default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
}

/// A piece of the text of a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionText {
    /// Of the whole text.
    #[serde(rename = "@size-bytes")]
    pub size_bytes: u64,
    /// Of it, from the offset on, in base64; nothing behind its end.
    #[serde(rename = "@data")]
    pub data: String,
}
