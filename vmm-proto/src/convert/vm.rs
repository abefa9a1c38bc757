//! VMs.

use vmm_core::units::{BytesPerSecond, Kib, MilliCpu};
use vmm_core::vm::admission::Denied;
use vmm_core::vm::{Demand, OnEvent, Scheduling, SpecError, StopReason, VmName, VmSpec, VmState};

use crate::v1::{Fault, FaultCode, Spec, VmPhase};

impl From<SpecError> for Fault {
    fn from(error: SpecError) -> Self {
        Fault::new(FaultCode::BadRequest, error.to_string())
    }
}

impl From<Denied> for Fault {
    fn from(denied: Denied) -> Self {
        Fault::new(FaultCode::BadState, denied.to_string())
    }
}

impl TryFrom<Spec> for VmSpec {
    type Error = SpecError;

    fn try_from(wire: Spec) -> Result<Self, SpecError> {
        VmSpec {
            name: VmName::new(wire.name)?,
            kind: wire.kind.try_into()?,
            vcpus: wire.vcpus,
            vcpus_max: wire.vcpus_max,
            memory_min: Kib(wire.memory_min_kib.unwrap_or(wire.memory_kib)),
            memory: Kib(wire.memory_kib),
            memory_max: Kib(wire.memory_max_kib),
            kernel: wire.kernel,
            initramfs: wire.initramfs,
            cmdline: wire.cmdline,
            disks: wire.disks.into_iter().map(Into::into).collect(),
            nics: wire.nics.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            scheduling: wire.scheduling.map(TryInto::try_into).transpose()?.unwrap_or_default(),
            on_event: wire.on_event.map(Into::into).unwrap_or_default(),
            autostart: wire.autostart.and_then(Into::into),
            demand: Demand {
                cpu: MilliCpu(wire.cpu_demand_milli),
                disk: BytesPerSecond(wire.disk_demand_bytes_per_s),
            },
        }
        .validated()
    }
}

impl From<&VmSpec> for Spec {
    fn from(spec: &VmSpec) -> Self {
        let is_usual = |spec: &VmSpec| spec.scheduling == Scheduling::default();
        Spec {
            name: spec.name.to_string(),
            kind: spec.kind.into(),
            vcpus: spec.vcpus,
            vcpus_max: spec.vcpus_max,
            memory_min_kib: (spec.memory_min != spec.memory).then_some(spec.memory_min.0),
            memory_kib: spec.memory.0,
            memory_max_kib: spec.memory_max.0,
            kernel: spec.kernel.clone(),
            initramfs: spec.initramfs.clone(),
            cmdline: spec.cmdline.clone(),
            cpu_demand_milli: spec.demand.cpu.0,
            disk_demand_bytes_per_s: spec.demand.disk.0,
            disks: spec.disks.iter().map(Into::into).collect(),
            nics: spec.nics.iter().map(Into::into).collect(),
            scheduling: (!is_usual(spec)).then(|| (&spec.scheduling).into()),
            on_event: (spec.on_event != OnEvent::default()).then(|| spec.on_event.into()),
            autostart: spec.autostart.map(Into::into),
        }
    }
}

impl From<VmState> for VmPhase {
    fn from(state: VmState) -> Self {
        match state {
            VmState::Starting => VmPhase::Starting,
            VmState::Running => VmPhase::Running,
            VmState::Paused => VmPhase::Paused,
            VmState::ShuttingDown => VmPhase::ShuttingDown,
            VmState::Rebooting => VmPhase::Rebooting,
            VmState::Suspending => VmPhase::Suspending,
            VmState::Suspended => VmPhase::Suspended,
            VmState::Saving => VmPhase::Saving,
            VmState::Migrating => VmPhase::Migrating,
            VmState::Arriving => VmPhase::Arriving,
            VmState::Preserved => VmPhase::Preserved,
            VmState::Stopped(StopReason::New) => VmPhase::New,
            VmState::Stopped(StopReason::Poweroff) => VmPhase::PoweredOff,
            VmState::Stopped(StopReason::Crash) => VmPhase::Crashed,
            VmState::Stopped(StopReason::Destroyed) => VmPhase::Destroyed,
            VmState::Stopped(StopReason::Failed) => VmPhase::Failed,
            VmState::Stopped(StopReason::Lost) => VmPhase::Lost,
            VmState::Stopped(StopReason::Saved) => VmPhase::Saved,
            VmState::Stopped(StopReason::Migrated) => VmPhase::Migrated,
        }
    }
}

impl From<VmPhase> for VmState {
    fn from(phase: VmPhase) -> Self {
        match phase {
            VmPhase::Starting => VmState::Starting,
            VmPhase::Running => VmState::Running,
            VmPhase::Paused => VmState::Paused,
            VmPhase::ShuttingDown => VmState::ShuttingDown,
            VmPhase::Rebooting => VmState::Rebooting,
            VmPhase::Suspending => VmState::Suspending,
            VmPhase::Suspended => VmState::Suspended,
            VmPhase::Saving => VmState::Saving,
            VmPhase::Migrating => VmState::Migrating,
            VmPhase::Arriving => VmState::Arriving,
            VmPhase::Preserved => VmState::Preserved,
            VmPhase::New => VmState::Stopped(StopReason::New),
            VmPhase::PoweredOff => VmState::Stopped(StopReason::Poweroff),
            VmPhase::Crashed => VmState::Stopped(StopReason::Crash),
            VmPhase::Destroyed => VmState::Stopped(StopReason::Destroyed),
            VmPhase::Failed => VmState::Stopped(StopReason::Failed),
            VmPhase::Lost => VmState::Stopped(StopReason::Lost),
            VmPhase::Saved => VmState::Stopped(StopReason::Saved),
            VmPhase::Migrated => VmState::Stopped(StopReason::Migrated),
        }
    }
}
