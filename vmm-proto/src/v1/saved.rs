//! VMs whose memory is in a file.

use serde::{Deserialize, Serialize};

/// Suspend the guest, write its memory to a file on its host, and take it off the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaveVm {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// Absolute path on the host; nothing may be there yet.
    #[serde(rename = "@path")]
    pub path: String,
    /// How it is written there.
    #[serde(rename = "@format", default, skip_serializing_if = "SavedFormat::is_sealed")]
    pub format: SavedFormat,
    /// How long the guest may take to suspend. After that it runs on, and the request fails.
    #[serde(rename = "@wait-ms-max")]
    pub wait_ms_max: u64,
}

/// How a guest's memory stands in a file. Which one it is, the file tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SavedFormat {
    /// Packed, encrypted and authenticated under a key of the host, which alone can restore it.
    #[default]
    Sealed,
    /// As `xl save` does: in the clear, for `xl restore` on any host.
    Xl,
}

impl SavedFormat {
    fn is_sealed(&self) -> bool {
        *self == Self::Sealed
    }
}

/// To the manager: continue a saved VM, on the host that has its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreVm {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// The file; where it was saved to when it is not said.
    #[serde(rename = "@path", default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}
