//! VMs that shall be there: one, or many at once, which are placed together so that none takes the only place of another one.

use serde::{Deserialize, Serialize};

use super::group::GroupRef;
use super::pin::Pin;
use super::plan::{Part, RefusedHost};
use super::vm::Spec;

/// To the manager: define a VM, choose its host and start it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateVm {
    /// Only say where it would go, and why.
    #[serde(rename = "@dry-run")]
    pub dry_run: bool,
    /// The pool that it shall be in, by id or name; wherever it costs least when it is not said.
    #[serde(rename = "@pool", default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// What it shall be.
    #[serde(rename = "Spec")]
    pub spec: Spec,
    /// The hosts that it may be on, as [`super::PinVm`] says it.
    #[serde(rename = "Pin", default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Pin>,
    /// The groups that it shall be in.
    #[serde(rename = "GroupRef", default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupRef>,
}

/// One of many VMs that shall be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewVm {
    /// The pool that it shall be in, by id or name; wherever it costs least when it is not said.
    #[serde(rename = "@pool", default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// What it shall be.
    #[serde(rename = "Spec")]
    pub spec: Spec,
    /// The hosts that it may be on.
    #[serde(rename = "Pin", default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Pin>,
    /// The groups that it shall be in.
    #[serde(rename = "GroupRef", default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupRef>,
}

/// To the manager: define many VMs, choose the hosts of all of them together, and start them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateVms {
    /// Only say where each would go, and why.
    #[serde(rename = "@dry-run")]
    pub dry_run: bool,
    /// Those that fit nowhere are left out. When it is not said, nothing is done unless there is a place for each.
    #[serde(rename = "@partial", default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Which.
    #[serde(rename = "NewVm", default)]
    pub vms: Vec<NewVm>,
}

/// Where many VMs would go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Placements {
    /// In the order in which they were asked for.
    #[serde(rename = "PlacedVm", default, skip_serializing_if = "Vec::is_empty")]
    pub placed: Vec<PlacedVm>,
    /// Those that fit nowhere beside the others.
    #[serde(rename = "UnplacedVm", default, skip_serializing_if = "Vec::is_empty")]
    pub unplaced: Vec<UnplacedVm>,
}

/// A VM that has a place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlacedVm {
    /// Its name.
    #[serde(rename = "@name")]
    pub name: String,
    /// The host's name.
    #[serde(rename = "@host")]
    pub host: String,
    /// What it costs there, beside those that were placed before it.
    #[serde(rename = "@cost")]
    pub cost: f64,
    /// The parts of the cost.
    #[serde(rename = "Part", default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// A VM that has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnplacedVm {
    /// Its name.
    #[serde(rename = "@name")]
    pub name: String,
    /// Each host's reason, when all others are placed.
    #[serde(rename = "RefusedHost", default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedHost>,
}
