//! VMs. Requests name a VM by id or, to the manager, by name.

use serde::{Deserialize, Serialize};

use super::device::{Disk, Nic};
use super::group::GroupRef;
use super::label::Tag;
use super::list::list_request;
use super::pin::Pin;
use super::policy::{Autostart, GuestKind, OnEvent, Scheduling};

/// What a VM shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Unique in the pool.
    #[serde(rename = "@name")]
    pub name: String,
    /// PVH when it is not said.
    #[serde(rename = "@kind", default)]
    pub kind: GuestKind,
    /// vCPUs online at boot.
    #[serde(rename = "@vcpus")]
    pub vcpus: u32,
    /// vCPUs that it can ever have.
    #[serde(rename = "@vcpus-max")]
    pub vcpus_max: u32,
    /// The least that the host's balloon policy may take it down to; what it has at boot when it is not said.
    #[serde(rename = "@memory-min-kib", default, skip_serializing_if = "Option::is_none")]
    pub memory_min_kib: Option<u64>,
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
    /// Its disks.
    #[serde(rename = "Disk", default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Disk>,
    /// Its NICs.
    #[serde(rename = "Nic", default, skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<Nic>,
    /// How Xen's scheduler treats it; as everybody else when it is not said.
    #[serde(rename = "Scheduling", default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// What follows when it ends by itself.
    #[serde(rename = "OnEvent", default, skip_serializing_if = "Option::is_none")]
    pub on_event: Option<OnEvent>,
    /// Start it when its host has booted.
    #[serde(rename = "Autostart", default, skip_serializing_if = "Option::is_none")]
    pub autostart: Option<Autostart>,
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
    /// Let a suspended guest go on.
    ResumeVm;
    /// End it without asking the guest. Its definition stays.
    DestroyVm;
    /// To the manager: forget a stopped VM.
    DeleteVm;
    /// To the manager: a saved VM shall boot anew at its next start. The file stays on its host.
    DiscardSaved;
    /// To the manager: one VM.
    ShowVm;
}

/// To an agent: build the VM and run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildVm {
    /// Its id.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// Continue from this saved file, on the host, instead of booting.
    #[serde(rename = "@restore-from", default, skip_serializing_if = "Option::is_none")]
    pub restore_from: Option<String>,
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

/// Ask the guest to suspend, and wait until it has. Its memory stays on the host; [`ResumeVm`] lets it go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspendVm {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// How long the guest may take. After that it runs on, and the request fails.
    #[serde(rename = "@wait-ms-max")]
    pub wait_ms_max: u64,
}

/// Give the VM another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameVm {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// Unique in the pool.
    #[serde(rename = "@name")]
    pub name: String,
}

/// Change what needs no guest. What is not said stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigureVm {
    /// Id or name.
    #[serde(rename = "@vm")]
    pub vm: String,
    /// The least that the host's balloon policy may take it down to.
    #[serde(rename = "@memory-min-kib", default, skip_serializing_if = "Option::is_none")]
    pub memory_min_kib: Option<u64>,
    /// How Xen's scheduler treats it.
    #[serde(rename = "Scheduling", default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// What follows when it ends by itself.
    #[serde(rename = "OnEvent", default, skip_serializing_if = "Option::is_none")]
    pub on_event: Option<OnEvent>,
    /// Start it when its host has booted; an `enabled` of false takes that back.
    #[serde(rename = "Autostart", default, skip_serializing_if = "Option::is_none")]
    pub autostart: Option<Autostart>,
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

list_request! {
    /// To the manager: VMs, a page at a time.
    ListVms;
}

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
    /// Asked to suspend.
    Suspending,
    /// Suspended by its own doing; its memory is on its host.
    Suspended,
    /// Being written to a file.
    Saving,
    /// It runs there, or stands still for the last moment, and is being copied to another host.
    Migrating,
    /// Being copied to there; it runs on another host.
    Arriving,
    /// It has ended, and its domain is kept for whoever wants to look.
    Preserved,
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
    /// Its memory is in a file on the host that it was on.
    Saved,
    /// It was moved while it ran: it runs on another host.
    Migrated,
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
    /// The file that its memory was saved to, on `saved-host`.
    #[serde(rename = "@saved-path", default, skip_serializing_if = "Option::is_none")]
    pub saved_path: Option<String>,
    /// The host that has the file, by name.
    #[serde(rename = "@saved-host", default, skip_serializing_if = "Option::is_none")]
    pub saved_host: Option<String>,
    /// How it differs from what was asked for, in words, when it has done so for a while.
    #[serde(rename = "@drift", default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    /// By which rules it may not be where it is, in words: it was bound after it was put there. It stays until it is started or moved.
    #[serde(rename = "@misplaced", default, skip_serializing_if = "Option::is_none")]
    pub misplaced: Option<String>,
    /// The pool of its host, or of the last one that it was on, by name; missing when it never was on any.
    #[serde(rename = "@pool", default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The site of that pool, by name.
    #[serde(rename = "@site", default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The folder that it lies in; missing when it lies in none.
    #[serde(rename = "@folder", default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// What people should know about it.
    #[serde(rename = "@notes", default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// What it shall be.
    #[serde(rename = "Spec")]
    pub spec: Spec,
    /// What it was measured to use; missing while nothing was.
    #[serde(rename = "Rates", default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<VmRates>,
    /// Its tags, in order.
    #[serde(rename = "Tag", default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// The hosts that it may be on; none: any of its pool.
    #[serde(rename = "Pin", default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Pin>,
    /// The groups that it is in, by name.
    #[serde(rename = "GroupRef", default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupRef>,
}

/// What a VM was measured to use, and when. What could not be told is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmRates {
    /// How long before the message.
    #[serde(rename = "@age-ms")]
    pub age_ms: u64,
    /// CPUs, in thousandths.
    #[serde(rename = "@cpu-milli", default, skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<u64>,
    /// Throughput of all disks.
    #[serde(rename = "@disk-bytes-per-s", default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes_per_s: Option<u64>,
    /// Requests to its disks.
    #[serde(rename = "@disk-requests-per-s", default, skip_serializing_if = "Option::is_none")]
    pub disk_requests_per_s: Option<u64>,
    /// Throughput of all NICs, both ways.
    #[serde(rename = "@network-bytes-per-s", default, skip_serializing_if = "Option::is_none")]
    pub network_bytes_per_s: Option<u64>,
}

/// What some VMs are and use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmTotals {
    /// How many they are.
    #[serde(rename = "@vm-count")]
    pub vm_count: u64,
    /// Of these, those that run.
    #[serde(rename = "@running-count")]
    pub running_count: u64,
    /// vCPUs online.
    #[serde(rename = "@vcpus-online")]
    pub vcpus_online: u64,
    /// Memory that they hold.
    #[serde(rename = "@memory-now-kib")]
    pub memory_now_kib: u64,
    /// CPUs that they use, in thousandths, as measured last.
    #[serde(rename = "@cpu-used-milli")]
    pub cpu_used_milli: u64,
    /// Throughput of their disks, as measured last.
    #[serde(rename = "@disk-used-bytes-per-s")]
    pub disk_used_bytes_per_s: u64,
    /// Throughput of their NICs, as measured last.
    #[serde(rename = "@network-used-bytes-per-s")]
    pub network_used_bytes_per_s: u64,
}

/// A page of VMs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vms {
    /// Ask for those after this; missing on the last page.
    #[serde(rename = "@next", default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Of all that are wanted, on this page or not; when totals were asked for.
    #[serde(rename = "Totals", default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<VmTotals>,
    /// In the order that was asked for.
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
    /// The parts of the cost.
    #[serde(rename = "Part", default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<super::Part>,
}
