//! VMs. Requests name a VM by id or, to the manager, by name.

use serde::{Deserialize, Serialize};

/// What a VM shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Unique in the pool.
    #[serde(rename = "@name")]
    pub name: String,
    /// vCPUs online at boot.
    #[serde(rename = "@vcpus")]
    pub vcpus: u32,
    /// vCPUs that it can ever have.
    #[serde(rename = "@vcpus-max")]
    pub vcpus_max: u32,
    /// Memory at boot.
    #[serde(rename = "@memory-kib")]
    pub memory_kib: u64,
    /// Memory that it can grow to without hot-adding blocks.
    #[serde(rename = "@memory-max-kib")]
    pub memory_max_kib: u64,
    /// The kernel on the host.
    #[serde(rename = "@kernel")]
    pub kernel: String,
    /// The initramfs on the host.
    #[serde(rename = "@initramfs", default, skip_serializing_if = "Option::is_none")]
    pub initramfs: Option<String>,
    /// The kernel's command line.
    #[serde(rename = "@cmdline")]
    pub cmdline: String,
    /// Processor time that it is expected to use, in thousandths of a CPU.
    #[serde(rename = "@cpu-demand-milli")]
    pub cpu_demand_milli: u64,
    /// Disk throughput that it is expected to use.
    #[serde(rename = "@disk-demand-bytes-per-s")]
    pub disk_demand_bytes_per_s: u64,
    /// Its disk.
    #[serde(rename = "Disk", default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
}

/// A disk: an image file on the host.
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

/// To the manager: define a VM, choose its host and start it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateVm {
    /// Only say where it would go, and why.
    #[serde(rename = "@dry-run")]
    pub dry_run: bool,
    /// What it shall be.
    #[serde(rename = "Spec")]
    pub spec: Spec,
}

macro_rules! vm_request {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name {
            /// Id, or to the manager also the name.
            #[serde(rename = "@vm")]
            pub vm: String,
        }
    )*};
}

vm_request! {
    /// To the manager: choose a host for a stopped VM and start it.
    StartVm;
    /// Stop its vCPUs.
    PauseVm;
    /// Let them run again.
    UnpauseVm;
    /// End it without asking the guest. Its definition stays.
    DestroyVm;
    /// To the manager: forget a stopped VM.
    DeleteVm;
    /// To the manager: one VM.
    ShowVm;
}

/// To an agent: build the VM and run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildVm {
    /// Its id.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// What it shall be.
    #[serde(rename = "Spec")]
    pub spec: Spec,
}

/// Ask the guest to power off, and wait until it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutdownVm {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// How long the guest may take. After that it runs on, and the request fails.
    #[serde(rename = "@wait-ms-max")]
    pub wait_ms_max: u64,
}

/// Ask the guest to reboot, and wait until it runs again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebootVm {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// How long the guest may take to go down.
    #[serde(rename = "@wait-ms-max")]
    pub wait_ms_max: u64,
}

/// Bring vCPUs online or offline until this many are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetVcpus {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// How many.
    #[serde(rename = "@vcpus")]
    pub vcpus: u32,
    /// How long the guest may take.
    #[serde(rename = "@wait-ms-max")]
    pub wait_ms_max: u64,
}

/// Move the balloon until the guest has this much. Above the boot-time maximum the guest must hot-add blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetMemory {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// How much.
    #[serde(rename = "@memory-kib")]
    pub memory_kib: u64,
    /// How long the guest may take.
    #[serde(rename = "@wait-ms-max")]
    pub wait_ms_max: u64,
}

/// What the guest really did with its vCPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vcpus {
    /// Asked for.
    #[serde(rename = "@asked")]
    pub asked: u32,
    /// Online now, as Xen sees it.
    #[serde(rename = "@online")]
    pub online: u32,
    /// What did not happen, when something did not.
    #[serde(rename = "@note", default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What the guest really did with its memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Asked for.
    #[serde(rename = "@asked-kib")]
    pub asked_kib: u64,
    /// Held now, as Xen sees it.
    #[serde(rename = "@reached-kib")]
    pub reached_kib: u64,
    /// What did not happen, when something did not.
    #[serde(rename = "@note", default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// The last lines that the guest wrote to its console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadConsole {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// At most this much, from the end.
    #[serde(rename = "@bytes-max")]
    pub bytes_max: u32,
}

/// Console output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleText {
    /// Bytes that were written before these and are no longer kept.
    #[serde(rename = "@dropped-bytes")]
    pub dropped_bytes: u64,
    /// As written by the guest, in base64.
    #[serde(rename = "@data")]
    pub data: String,
}

/// To the manager: all VMs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListVms {}

/// What a VM does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VmPhase {
    /// Being built.
    Starting,
    /// Running.
    Running,
    /// Its vCPUs are stopped.
    Paused,
    /// Asked to power off.
    ShuttingDown,
    /// Asked to reboot.
    Rebooting,
    /// Never started.
    New,
    /// The guest powered off.
    PoweredOff,
    /// The guest crashed.
    Crashed,
    /// An operator destroyed it.
    Destroyed,
    /// It could not be started.
    Failed,
    /// It is gone, and nobody knows how.
    Lost,
}

/// A VM of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// Its id.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// What it does.
    #[serde(rename = "@phase")]
    pub phase: VmPhase,
    /// In words, when it stopped by itself or failed.
    #[serde(rename = "@reason", default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The host that it is on, by name.
    #[serde(rename = "@host", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The host is not heard, so the phase may be old.
    #[serde(rename = "@stale")]
    pub stale: bool,
    /// vCPUs online.
    #[serde(rename = "@vcpus-online")]
    pub vcpus_online: u32,
    /// Memory that it holds.
    #[serde(rename = "@memory-now-kib")]
    pub memory_now_kib: u64,
    /// What it shall be.
    #[serde(rename = "Spec")]
    pub spec: Spec,
}

/// All VMs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vms {
    /// In order of name.
    #[serde(rename = "Vm", default)]
    pub vms: Vec<Vm>,
}

/// Where a VM would go, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// The host's name; missing when none can take it.
    #[serde(rename = "@chosen", default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    /// All hosts, the winner first.
    #[serde(rename = "Candidate", default)]
    pub candidates: Vec<Candidate>,
}

/// One host's part in a placement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its name.
    #[serde(rename = "@host")]
    pub host: String,
    /// It could take the VM; the costs mean something.
    #[serde(rename = "@eligible")]
    pub eligible: bool,
    /// What the processor time costs.
    #[serde(rename = "@cost-cpu")]
    pub cost_cpu: f64,
    /// What the memory costs.
    #[serde(rename = "@cost-memory")]
    pub cost_memory: f64,
    /// What the disk throughput costs.
    #[serde(rename = "@cost-disk-io")]
    pub cost_disk_io: f64,
    /// Their sum.
    #[serde(rename = "@cost")]
    pub cost: f64,
    /// Why it won or lost.
    #[serde(rename = "@reason")]
    pub reason: String,
}
