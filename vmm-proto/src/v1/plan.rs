//! What the scheduler would do, before anything is done: moves that pay, an emptied host, more for one VM. Answers are decisions of this moment with all their terms.

use serde::{Deserialize, Serialize};

/// To the manager: which moves would pay now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanMoves {
    /// Within this pool, by id or name; within each when it is not said.
    #[serde(rename = "@pool", default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// How many at most.
    #[serde(rename = "@moves-max", default, skip_serializing_if = "Option::is_none")]
    pub moves_max: Option<u32>,
}

/// To the manager: where everybody on a host would go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEvacuation {
    /// Id or name.
    #[serde(rename = "@host")]
    pub host: String,
}

/// To the manager: how a VM that runs would get this much; in place, or by a move.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanGrowth {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// vCPUs online; as many as now when it is not said.
    #[serde(rename = "@vcpus", default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// Memory of the guest; as much as now when it is not said.
    #[serde(rename = "@memory-kib", default, skip_serializing_if = "Option::is_none")]
    pub memory_kib: Option<u64>,
}

/// A part of a cost. 1 is about what an idle host is worth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Which.
    #[serde(rename = "@name")]
    pub name: String,
    /// How much.
    #[serde(rename = "@cost")]
    pub cost: f64,
}

/// Moves, in an order in which each fits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What all hosts' loads cost now.
    #[serde(rename = "@potential-before")]
    pub potential_before: f64,
    /// What they would cost then.
    #[serde(rename = "@potential-after")]
    pub potential_after: f64,
    /// In their order.
    #[serde(rename = "Move", default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<PlannedMove>,
    /// Who stays, and why; of a plan of moves, those who cost most where they are.
    #[serde(rename = "Kept", default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptVm>,
}

/// One move of a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlannedMove {
    /// Moves of one wave can be made at the same time; from 1.
    #[serde(rename = "@wave")]
    pub wave: u32,
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
    /// It makes room only, and another move takes it on.
    #[serde(rename = "@temporary")]
    pub temporary: bool,
    /// What would travel; missing when the move would not converge.
    #[serde(rename = "@move-bytes", default, skip_serializing_if = "Option::is_none")]
    pub move_bytes: Option<u64>,
    /// How long it would take.
    #[serde(rename = "@move-ms", default, skip_serializing_if = "Option::is_none")]
    pub move_ms: Option<u64>,
    /// How long the guest would stand still.
    #[serde(rename = "@downtime-ms", default, skip_serializing_if = "Option::is_none")]
    pub downtime_ms: Option<u64>,
    /// What it costs where it is.
    #[serde(rename = "@cost-here")]
    pub cost_here: f64,
    /// What it would cost.
    #[serde(rename = "@cost-there")]
    pub cost_there: f64,
    /// What the move costs.
    #[serde(rename = "@cost-move")]
    pub cost_move: f64,
    /// In words.
    #[serde(rename = "@reason")]
    pub reason: String,
}

/// A VM that stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptVm {
    /// Who, by id.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// Who, by name.
    #[serde(rename = "@vm-name")]
    pub vm_name: String,
    /// The name of its host.
    #[serde(rename = "@host")]
    pub host: String,
    /// What it costs there.
    #[serde(rename = "@cost-here")]
    pub cost_here: f64,
    /// Why it stays.
    #[serde(rename = "@reason")]
    pub reason: String,
}

/// How a VM would get more: the best way first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// None when nobody has room.
    #[serde(rename = "Way", default, skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<Way>,
    /// Hosts that cannot, and why.
    #[serde(rename = "RefusedHost", default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedHost>,
}

/// One way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Way {
    /// The name of the host that it is on then.
    #[serde(rename = "@host")]
    pub host: String,
    /// It stays there.
    #[serde(rename = "@in-place")]
    pub in_place: bool,
    /// What the pool costs more; less than 0 when a move relieves more than it burdens.
    #[serde(rename = "@cost")]
    pub cost: f64,
    /// What would travel; missing in place.
    #[serde(rename = "@move-bytes", default, skip_serializing_if = "Option::is_none")]
    pub move_bytes: Option<u64>,
    /// How long the move would take.
    #[serde(rename = "@move-ms", default, skip_serializing_if = "Option::is_none")]
    pub move_ms: Option<u64>,
    /// How long the guest would stand still.
    #[serde(rename = "@downtime-ms", default, skip_serializing_if = "Option::is_none")]
    pub downtime_ms: Option<u64>,
    /// Of what the VM costs on that host, and of the move.
    #[serde(rename = "Part", default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// A host that cannot take a VM.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RefusedHost {
    /// Its name.
    #[serde(rename = "@host")]
    pub host: String,
    /// By which rule, or for want of what, for programs.
    #[serde(rename = "@by", default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Why.
    #[serde(rename = "@reason")]
    pub reason: String,
}
