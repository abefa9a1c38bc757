//! What libxl's configuration of a domain says, as far as it matters here.
//!
//! What it says beyond that belongs to libxl: it is neither read nor written, and libxl takes its defaults for it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use vmm_core::id::VmId;
use vmm_core::units::Kib;
use vmm_core::vm::{GuestKind, VmSpec};

use crate::saved::Size;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    c_info: CreateInfo,
    b_info: BuildInfo,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    disks: Vec<Disk>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nics: Vec<Nic>,
    on_poweroff: Option<String>,
    on_reboot: Option<String>,
    on_crash: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct CreateInfo {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    uuid: Option<String>,
}

/// `xl` starts a guest that reboots from `kernel` again.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct BuildInfo {
    max_vcpus: u32,
    avail_vcpus: BTreeSet<u32>,
    max_memkb: u64,
    target_memkb: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ramdisk: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmdline: Option<String>,
    #[serde(rename = "type.pvh", skip_serializing_if = "Option::is_none")]
    pvh: Option<Empty>,
    #[serde(rename = "type.pv", skip_serializing_if = "Option::is_none")]
    pv: Option<Empty>,
}

/// A kind of guest without anything that is special.
#[derive(Debug, Serialize, Deserialize)]
struct Empty {}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Disk {
    pdev_path: String,
    vdev: String,
    format: String,
    readwrite: u32,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Nic {
    devid: u32,
    mac: String,
    bridge: String,
    nictype: String,
}

impl Config {
    /// Of a VM that was saved when it had that size.
    pub(super) fn of(vm: VmId, spec: &VmSpec, size: Size) -> Self {
        let kind = spec.kind;
        let action = |word: &str| Some(word.to_owned());
        Self {
            c_info: CreateInfo {
                kind: word(kind).to_owned(),
                name: spec.name.as_str().to_owned(),
                uuid: Some(vm.to_string()),
            },
            b_info: BuildInfo {
                max_vcpus: spec.vcpus_max,
                avail_vcpus: (0..size.vcpus_online).collect(),
                // It may have grown beyond what it boots with.
                max_memkb: spec.memory_max.max(size.memory).0,
                target_memkb: size.memory.0,
                kernel: Some(spec.kernel.clone()),
                ramdisk: spec.initramfs.clone(),
                cmdline: Some(spec.cmdline.clone()),
                pvh: (kind == GuestKind::Pvh).then_some(Empty {}),
                pv: (kind == GuestKind::Pv).then_some(Empty {}),
            },
            disks: spec.disks.iter().map(disk).collect(),
            nics: spec.nics.iter().map(nic).collect(),
            on_poweroff: action("destroy"),
            on_reboot: action("restart"),
            on_crash: action("destroy"),
        }
    }

    pub(super) fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    pub(super) fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The domain's uuid, which is the VM's id.
    pub(super) fn vm(&self) -> Option<VmId> {
        self.c_info.uuid.as_ref()?.parse().ok()
    }

    pub(super) fn size(&self) -> Size {
        let vcpus_online = u32::try_from(self.b_info.avail_vcpus.len()).unwrap_or(u32::MAX);
        Size { memory: Kib(self.b_info.target_memkb), vcpus_online: vcpus_online.max(1) }
    }

    /// How the guest is another than the VM that shall go on from it.
    pub(super) fn differs(&self, spec: &VmSpec) -> Option<String> {
        let Self { c_info, b_info, .. } = self;
        let kind = word(spec.kind);
        if c_info.kind != kind {
            return Some(format!("a guest of type {:?}, not {kind:?}", c_info.kind));
        }
        let (has, most) = (b_info.max_vcpus, spec.vcpus_max);
        (has > most).then(|| format!("a guest of {has} vCPUs; the VM has {most} at most"))
    }

    /// Does it have these disks and no others?
    pub(super) fn has_disks(&self, spec: &VmSpec) -> bool {
        let here: BTreeSet<_> = self.disks.iter().map(|d| (&d.vdev, &d.pdev_path)).collect();
        here == spec.disks.iter().map(|disk| (&disk.device, &disk.path)).collect()
    }
}

fn word(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Pvh => "pvh",
        GuestKind::Pv => "pv",
    }
}

fn disk(disk: &vmm_core::vm::DiskSpec) -> Disk {
    Disk {
        pdev_path: disk.path.clone(),
        vdev: disk.device.clone(),
        format: "raw".to_owned(),
        readwrite: u32::from(!disk.read_only),
    }
}

fn nic(nic: &vmm_core::vm::NicSpec) -> Nic {
    Nic {
        devid: nic.index,
        mac: nic.mac.to_string(),
        bridge: nic.bridge.clone(),
        nictype: "vif".to_owned(),
    }
}
