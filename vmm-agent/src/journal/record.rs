//! One VM's record, and the form it has in its file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vmm_core::id::VmId;
use vmm_core::vm::{SpecError, StopReason, VmSpec, VmState};
use vmm_proto::v1;
use xen_bindings::DomId;

use crate::dom0::FileId;
use crate::domain::migration::MigrationId;

/// What the agent was about when it wrote the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Intent {
    /// Building: whatever is found is half a VM, and goes.
    Build,
    /// Building anew after a reboot: what is found goes, and the build starts again.
    Rebuild,
    /// Not a VM: a guest that waits for one. What is found goes.
    Shell,
    /// Come from another host, and committed: what is found is started, and adopted.
    Arrive,
    /// Running: what is found is adopted.
    Run,
    /// Taking down: what is found goes.
    Remove,
    /// Stopped: there is nothing.
    Rest,
}

/// An image file of a VM, from just before a loop device is put over it until just after that is taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldImage {
    /// The disk's name in the guest.
    pub(crate) device: String,
    /// The file, whatever its name is by now.
    pub(crate) file: HeldFile,
    /// The loop device, once it is attached.
    pub(crate) loop_index: Option<u32>,
    /// Loop devices that had the file before: not ours.
    pub(crate) loops_before: Vec<u32>,
}

/// A file by what it is, not by what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldFile {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl From<FileId> for HeldFile {
    fn from(id: FileId) -> Self {
        Self { device: id.device, inode: id.inode }
    }
}

impl From<HeldFile> for FileId {
    fn from(file: HeldFile) -> Self {
        Self { device: file.device, inode: file.inode }
    }
}

/// How far a migration of the VM was when the record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Moved {
    /// Being copied from here: its guest is here.
    Sending,
    /// The destination has all of it: its guest is here, and goes on only by a verdict.
    Offered,
    /// It has gone: what is found goes.
    Gone,
    /// Half of it is here: what is found goes.
    Arriving,
    /// It was committed to this host.
    Arrived,
}

/// A migration that the VM is part of, or came by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moving {
    pub(crate) migration: MigrationId,
    /// The other host's name.
    pub(crate) peer: String,
    /// Where the destination listens, on the source.
    pub(crate) address: Option<String>,
    pub(crate) stage: Moved,
    /// What the guest's balloon was to hold before it was sent, in KiB: it is asked for that again if it stays.
    #[serde(default)]
    pub(crate) target_kib: Option<u64>,
}

/// One VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) vm: VmId,
    /// As it shall be at its next start; what was attached or changed meanwhile is in it.
    pub(crate) spec: VmSpec,
    pub(crate) intent: Intent,
    /// Why it is or will be stopped.
    pub(crate) stop: StopReason,
    /// The same in words.
    pub(crate) reason: String,
    /// Who asked for the build, with which idempotency key.
    pub(crate) build_key: Option<String>,
    pub(crate) domid: Option<DomId>,
    /// Its image files that are, or may be, on loop devices.
    pub(crate) images: Vec<HeldImage>,
    /// The file that is being written, or was written, with its memory.
    pub(crate) saved: Option<PathBuf>,
    /// The migration that it is part of, or came by.
    pub(crate) moving: Option<Moving>,
}

impl Record {
    /// A VM that shall be built.
    pub(crate) fn new(vm: VmId, spec: VmSpec, build_key: Option<String>) -> Self {
        Self {
            vm,
            spec,
            intent: Intent::Build,
            stop: StopReason::Failed,
            reason: String::new(),
            build_key,
            domid: None,
            images: Vec::new(),
            saved: None,
            moving: None,
        }
    }
}

/// As it stands in the file. The specification has the form that it has on the wire.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    vm: String,
    intent: Intent,
    phase: v1::VmPhase,
    reason: String,
    build_key: Option<String>,
    domid: Option<u16>,
    images: Vec<HeldImage>,
    saved: Option<PathBuf>,
    #[serde(default)]
    moving: Option<Moving>,
    spec: v1::Spec,
}

/// The version of the file's form.
const VERSION: u32 = 2;

impl Record {
    /// As it stands in the file.
    pub(super) fn encode(&self) -> Result<Vec<u8>, String> {
        let stored = Stored {
            version: VERSION,
            vm: self.vm.to_string(),
            intent: self.intent,
            phase: VmState::Stopped(self.stop).into(),
            reason: self.reason.clone(),
            build_key: self.build_key.clone(),
            domid: self.domid.map(DomId::get),
            images: self.images.clone(),
            saved: self.saved.clone(),
            moving: self.moving.clone(),
            spec: v1::Spec::from(&self.spec),
        };
        serde_json::to_vec_pretty(&stored).map_err(|error| error.to_string())
    }

    /// From the file, or what is wrong with it.
    pub(super) fn decode(text: &[u8]) -> Result<Self, String> {
        let version: Version = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if version.version != VERSION {
            return Err(format!("version {}", version.version));
        }
        let stored: Stored = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let VmState::Stopped(stop) = VmState::from(stored.phase) else {
            return Err("its stop reason is none".into());
        };
        let domid = stored.domid.map(|raw| DomId::new(u32::from(raw))).transpose();
        Ok(Self {
            vm: stored.vm.parse().map_err(|_| format!("VM {:?}", stored.vm))?,
            spec: stored.spec.try_into().map_err(|error: SpecError| error.to_string())?,
            intent: stored.intent,
            stop,
            reason: stored.reason,
            build_key: stored.build_key,
            domid: domid.map_err(|error| error.to_string())?,
            images: stored.images,
            saved: stored.saved,
            moving: stored.moving,
        })
    }
}

/// What every version has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}
