//! Groups: VMs that shall be on one host, or on different ones.

use serde::{Deserialize, Serialize};

use super::list::list_request;
use super::task::VmRef;

/// What a group wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupKind {
    /// All on one host.
    Together,
    /// No two on one host.
    Apart,
}

/// To the manager: make a group, or change it. What is not said stays as it is. Nobody is moved: what is placed or moved from now on obeys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefineGroup {
    /// Its name; or to change one, its id.
    #[serde(rename = "@group")]
    pub group: String,
    /// It is there already, and shall be called so.
    #[serde(rename = "@new-name", default, skip_serializing_if = "Option::is_none")]
    pub new_name: Option<String>,
    /// What it wants; a new one must say it.
    #[serde(rename = "@rule", default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<GroupKind>,
    /// A wish only: a breach costs as much as an idle host is worth, and is not forbidden. A new one forbids it when it is not said.
    #[serde(rename = "@soft", default, skip_serializing_if = "Option::is_none")]
    pub soft: Option<bool>,
    /// What people should know about it.
    #[serde(rename = "@notes", default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// VMs that shall be in it.
    #[serde(rename = "Add", default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<VmRef>,
    /// VMs that shall not be in it.
    #[serde(rename = "Remove", default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<VmRef>,
}

/// To the manager: forget a group. Its VMs stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveGroup {
    /// Id or name.
    #[serde(rename = "@group")]
    pub group: String,
}

/// To the manager: one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowGroup {
    /// Id or name.
    #[serde(rename = "@group")]
    pub group: String,
}

list_request! {
    /// To the manager: groups.
    ListGroups;
}

/// A group that a VM is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRef {
    /// Its name; in requests, name or id.
    #[serde(rename = "@group")]
    pub group: String,
}

/// A VM of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// Its name.
    #[serde(rename = "@vm-name")]
    pub vm_name: String,
    /// The host that it is on, by name; missing while it is on none.
    #[serde(rename = "@host", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// It stands against the rule: with another one of those apart; of those together, not where most are.
    #[serde(rename = "@misplaced", default, skip_serializing_if = "std::ops::Not::not")]
    pub misplaced: bool,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its id.
    #[serde(rename = "@group")]
    pub group: String,
    /// Its name.
    #[serde(rename = "@name")]
    pub name: String,
    /// What it wants.
    #[serde(rename = "@rule")]
    pub rule: GroupKind,
    /// A wish only.
    #[serde(rename = "@soft")]
    pub soft: bool,
    /// Some of its VMs are placed against it.
    #[serde(rename = "@violated")]
    pub violated: bool,
    /// What people should know about it.
    #[serde(rename = "@notes", default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// In order of name.
    #[serde(rename = "Member", default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
}

/// A page of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// Ask for those after this; missing on the last page.
    #[serde(rename = "@next", default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// All that are wanted, on this page or not; when totals were asked for.
    #[serde(rename = "@count", default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// In the order that was asked for.
    #[serde(rename = "Group", default)]
    pub groups: Vec<Group>,
}
