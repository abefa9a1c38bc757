//! One VM's record, and the form it has in its file.

use serde::{Deserialize, Serialize};
use vmm_core::id::VmId;
use vmm_core::vm::{SpecError, StopReason, VmSpec, VmState};
use vmm_proto::v1;
use xen_bindings::DomId;

use crate::dom0::LoopIndex;

/// What the agent was about when it wrote the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Intent {
    /// Building: whatever is found is half a VM, and goes.
    Build,
    /// Building anew after a reboot: what is found goes, and the build starts again.
    Rebuild,
    /// Running: what is found is adopted.
    Run,
    /// Taking down: what is found goes.
    Remove,
    /// Stopped: there is nothing.
    Rest,
}

/// One VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) vm: VmId,
    pub(crate) spec: VmSpec,
    pub(crate) intent: Intent,
    /// Why it is or will be stopped.
    pub(crate) stop: StopReason,
    /// The same in words.
    pub(crate) reason: String,
    /// Who asked for the build, with which idempotency key.
    pub(crate) build_key: Option<String>,
    pub(crate) domid: Option<DomId>,
    pub(crate) loop_index: Option<LoopIndex>,
    /// Loop devices that had the disk's file before the build: not ours.
    pub(crate) loops_before: Vec<LoopIndex>,
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
            loop_index: None,
            loops_before: Vec::new(),
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
    loop_index: Option<u32>,
    loops_before: Vec<u32>,
    spec: v1::Spec,
}

/// The version of the file's form.
const VERSION: u32 = 1;

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
            loop_index: self.loop_index.map(|index| index.0),
            loops_before: self.loops_before.iter().map(|index| index.0).collect(),
            spec: v1::Spec::from(&self.spec),
        };
        serde_json::to_vec_pretty(&stored).map_err(|error| error.to_string())
    }

    /// From the file, or what is wrong with it.
    pub(super) fn decode(text: &[u8]) -> Result<Self, String> {
        let stored: Stored = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if stored.version != VERSION {
            return Err(format!("version {}", stored.version));
        }
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
            loop_index: stored.loop_index.map(LoopIndex),
            loops_before: stored.loops_before.into_iter().map(LoopIndex).collect(),
        })
    }
}
