//! What people write on objects: tags, folders, notes.

use serde::{Deserialize, Serialize};

/// A tag: 1 to 64 of `A-Z a-z 0-9 . _ : / -`, beginning with a letter or digit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Its text.
    #[serde(rename = "@name")]
    pub name: String,
}

/// To the manager: change what is written on a VM. What is not said stays as it is. Nothing of it reaches the VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelVm {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// The folder that it shall lie in, such as `/prod/web`; `/` takes it out of all.
    #[serde(rename = "@folder", default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// What people should know about it; empty for nothing.
    #[serde(rename = "@notes", default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Tags that it shall have.
    #[serde(rename = "Add", default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<Tag>,
    /// Tags that it shall not have.
    #[serde(rename = "Remove", default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<Tag>,
}

/// To the manager: change what is written on a host. What is not said stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelHost {
    /// Id or name.
    #[serde(rename = "@host")]
    pub host: String,
    /// What people should know about it; empty for nothing.
    #[serde(rename = "@notes", default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Tags that it shall have.
    #[serde(rename = "Add", default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<Tag>,
    /// Tags that it shall not have.
    #[serde(rename = "Remove", default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<Tag>,
}

/// To the manager: the tags and folders that are in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListLabels {}

/// A tag in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagUse {
    /// Its text.
    #[serde(rename = "@name")]
    pub name: String,
    /// VMs that have it.
    #[serde(rename = "@vm-count")]
    pub vm_count: u64,
    /// Hosts that have it.
    #[serde(rename = "@host-count")]
    pub host_count: u64,
}

/// A folder in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderUse {
    /// From the root, such as `/prod/web`.
    #[serde(rename = "@path")]
    pub path: String,
    /// VMs that lie in it, those in folders below left out.
    #[serde(rename = "@vm-count")]
    pub vm_count: u64,
}

/// The tags and folders in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// There were more than an answer holds.
    #[serde(rename = "@cut", default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// In order of their text.
    #[serde(rename = "Tag", default)]
    pub tags: Vec<TagUse>,
    /// In order of their path, each before those below it.
    #[serde(rename = "Folder", default)]
    pub folders: Vec<FolderUse>,
}
