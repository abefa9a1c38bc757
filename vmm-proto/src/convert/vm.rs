//! VMs.

use vmm_core::units::{BytesPerSecond, Kib, MilliCpu};
use vmm_core::vm::admission::Denied;
use vmm_core::vm::{Demand, DiskSpec, SpecError, StopReason, VmName, VmSpec, VmState};

use crate::v1::{Disk, Fault, FaultCode, Spec, VmPhase};

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
            vcpus: wire.vcpus,
            vcpus_max: wire.vcpus_max,
            memory: Kib(wire.memory_kib),
            memory_max: Kib(wire.memory_max_kib),
            kernel: wire.kernel,
            initramfs: wire.initramfs,
            cmdline: wire.cmdline,
            disk: wire.disk.map(|disk| DiskSpec {
                path: disk.path,
                device: disk.device,
                read_only: disk.read_only,
            }),
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
        Spec {
            name: spec.name.to_string(),
            vcpus: spec.vcpus,
            vcpus_max: spec.vcpus_max,
            memory_kib: spec.memory.0,
            memory_max_kib: spec.memory_max.0,
            kernel: spec.kernel.clone(),
            initramfs: spec.initramfs.clone(),
            cmdline: spec.cmdline.clone(),
            cpu_demand_milli: spec.demand.cpu.0,
            disk_demand_bytes_per_s: spec.demand.disk.0,
            disk: spec.disk.as_ref().map(|disk| Disk {
                path: disk.path.clone(),
                device: disk.device.clone(),
                read_only: disk.read_only,
            }),
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
            VmState::Stopped(StopReason::New) => VmPhase::New,
            VmState::Stopped(StopReason::Poweroff) => VmPhase::PoweredOff,
            VmState::Stopped(StopReason::Crash) => VmPhase::Crashed,
            VmState::Stopped(StopReason::Destroyed) => VmPhase::Destroyed,
            VmState::Stopped(StopReason::Failed) => VmPhase::Failed,
            VmState::Stopped(StopReason::Lost) => VmPhase::Lost,
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
            VmPhase::New => VmState::Stopped(StopReason::New),
            VmPhase::PoweredOff => VmState::Stopped(StopReason::Poweroff),
            VmPhase::Crashed => VmState::Stopped(StopReason::Crash),
            VmPhase::Destroyed => VmState::Stopped(StopReason::Destroyed),
            VmPhase::Failed => VmState::Stopped(StopReason::Failed),
            VmPhase::Lost => VmState::Stopped(StopReason::Lost),
        }
    }
}
