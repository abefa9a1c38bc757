//! Pins: the hosts that a VM may be on, when that is not all of its pool.

use serde::{Deserialize, Serialize};

/// A host that a VM may be on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Its name; in requests, name or id.
    #[serde(rename = "@host")]
    pub host: String,
}

/// To the manager: say which hosts a VM may be on. It stays where it is; what is placed or moved from now on obeys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinVm {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// All of them, of one pool; none: any host of its pool.
    #[serde(rename = "Pin", default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Pin>,
}
