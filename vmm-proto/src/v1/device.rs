//! Disks and NICs, and their hotplug.

use serde::{Deserialize, Serialize};

/// A disk: an image file or a block device on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Absolute path on the host.
    #[serde(rename = "@path")]
    pub path: String,
    /// Its name in the guest: `xvda` to `xvdp`.
    #[serde(rename = "@device")]
    pub device: String,
    /// Refuse writes.
    #[serde(rename = "@read-only")]
    pub read_only: bool,
}

/// A NIC on a bridge of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// Its number, 0 to 7.
    #[serde(rename = "@index")]
    pub index: u32,
    /// The guest's address, such as `00:16:3e:12:34:56`.
    #[serde(rename = "@mac")]
    pub mac: String,
    /// The bridge on the host.
    #[serde(rename = "@bridge")]
    pub bridge: String,
}

/// Give a running VM one more disk, and wait until the guest has taken it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachDisk {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// How long the guest may take. After that the disk is taken back, and the request fails.
    #[serde(rename = "@wait-ms-max")]
    pub wait_ms_max: u64,
    /// The disk.
    #[serde(rename = "Disk")]
    pub disk: Disk,
}

/// Take a disk from a running VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetachDisk {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// Its name in the guest.
    #[serde(rename = "@device")]
    pub device: String,
    /// How long the guest may take. After that the disk stays, and the request fails.
    #[serde(rename = "@wait-ms-max")]
    pub wait_ms_max: u64,
    /// Take it away after that time although the guest has not let go of it: what it had not written is lost.
    #[serde(rename = "@force", default)]
    pub force: bool,
}

/// Make an attached disk larger. An image file is made larger first; a block device must be so already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResizeDisk {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// Its name in the guest.
    #[serde(rename = "@device")]
    pub device: String,
    /// Its size then; of a block device, at most the device's own. A disk is never made smaller.
    #[serde(rename = "@size-bytes")]
    pub size_bytes: u64,
    /// How long dom0's backend may take to tell the guest.
    #[serde(rename = "@wait-ms-max")]
    pub wait_ms_max: u64,
}

/// Give a running VM one more NIC, and wait until the guest has taken it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachNic {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// How long the guest may take. After that the NIC is taken back, and the request fails.
    #[serde(rename = "@wait-ms-max")]
    pub wait_ms_max: u64,
    /// The NIC.
    #[serde(rename = "Nic")]
    pub nic: Nic,
}

/// Take a NIC from a running VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetachNic {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// Its number.
    #[serde(rename = "@index")]
    pub index: u32,
    /// How long the guest may take. After that the NIC stays, and the request fails.
    #[serde(rename = "@wait-ms-max")]
    pub wait_ms_max: u64,
    /// Take it away after that time although the guest has not let go of it.
    #[serde(rename = "@force", default)]
    pub force: bool,
}
