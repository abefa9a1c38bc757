//! Changes of a VM as data: every step with its undo.
//!
//! ```text
//!   start     record ─ open disks ─ create ─ vCPUs ─ limits ─ claim ─ scheduling ─ ports ─ CPU policy ─ image ─┐
//!   restore   the same, with the file opened first, the file's memory for the image, and recorded before it runs ┤
//!             ┌──────────────────────────────────────────────────────────────────────────────────────────────┘
//!             └ rest of the claim back ─ tree ─ introduce ─ backends ─ ports on bridges ─ unpause ─ record
//!   attach    open disk ─ write trees ─ backend ─ port on bridge ─ guest ─ record
//!   detach    ask ─ guest ─ remove trees ─ close disk ─ record
//!   suspend   ask ─ guest
//!   save      check file ─ record ─ ask ─ guest ─ write the file ─ record          (then the end)
//!   send      record ─ send the guest ─ await ready ─ record offered                                   (then the verdict)
//!   receive   as a start, with the guest from the stream for the image, its disks opened after that, and: … ports on bridges ─ await verdict ─
//!             record arrived ─ unpause
//!   shell     record ─ create ─ vCPUs ─ limits ─ ports ─ CPU policy ─ image          (a guest that waits for its VM)
//!   from shell  record ─ open disks ─ take the shell ─ scheduling ─ tree ─ …
//!   end       destroy ─ remove tree ─ await gone ─ close disks ─ used file          (each tried, whatever the others did)
//! ```
//!
//! [`super::perform`] carries them out. Interrupted anywhere, by an error, a cancel or the agent's death, each leaves what was
//! there before or what was asked for: an error or a cancel undoes what was begun; after a death the next agent finds the intent
//! in the journal, looks at what is there, and does the same ([`super::adopt`]).

use std::path::{Path, PathBuf};
use std::time::Duration;

use vmm_core::task::Step;
use vmm_core::vm::{NicSpec, VmSpec};
use vmm_proto::v1::SavedFormat;

use super::hotplug::MemoryAct;
use super::migration::source::Send;
use crate::device::{Device, DeviceKey};
use crate::journal::Intent;

/// One step, or the undo of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    RecordIntent(Intent),
    OpenDisk(Device),
    LookAtDisk(Device),
    CloseDisk(Device),
    Create,
    TakeShell,
    Destroy,
    AllocateVcpus,
    SetLimits,
    SetScheduling,
    AllocatePorts,
    ApplyCpuPolicy,
    BuildImage,
    OpenSaved(PathBuf),
    RestoreImage,
    WriteTree,
    PrepareTree,
    CompleteTree,
    RemoveTree,
    Introduce,
    AwaitBackend(Device),
    PlugPort(NicSpec),
    Unpause,
    RecordRunning,
    RecordNotRunning,
    Kill,
    AwaitGone,
    CloseAllDisks,
    WriteDevice(Device),
    Unplug(DeviceKey),
    AwaitConnected(Device, Duration),
    RecordWith(Device),
    RecordWithout(Device),
    AskClose(DeviceKey),
    WithdrawClose(DeviceKey),
    AwaitClosed(Device, Patience),
    RemoveDevice(DeviceKey),
    RecordSending(Send),
    RecordNotSending,
    SendGuest(Send),
    AwaitReady(Send),
    RecordOffered,
    ReceiveImage,
    AwaitVerdict,
    RecordArrived,
    RecordNotArrived,
    RecordSaving(PathBuf),
    RecordNotSaving,
    CheckFile(PathBuf),
    AskSuspend,
    GoOn,
    AwaitSuspended(Duration),
    WriteSaved(PathBuf, SavedFormat),
    RecordSaved,
    RemoveSaved(PathBuf),
    RemoveUsed,
    ClaimMemory,
    ReleaseClaim,
    Memory(MemoryAct),
}

/// How long a guest may take to let go of a device, and what then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    pub(crate) limit: Duration,
    /// Take the device away although the guest has not let go.
    pub(crate) force: bool,
}

impl Action {
    /// Does it wait for somebody else? Only such a step is cut short by a cancel; a blocking one that has begun is waited for.
    pub(crate) fn waits(&self) -> bool {
        matches!(
            self,
            Self::AwaitBackend(_)
                | Self::AwaitConnected(..)
                | Self::AwaitClosed(..)
                | Self::AwaitSuspended(_)
                | Self::AwaitReady(_)
                | Self::AwaitVerdict
        )
    }
}

fn step(name: &'static str, action: Action, undo: Option<Action>) -> Step<Action> {
    Step { name, action, undo }
}

/// The start of a VM.
pub(crate) fn start(spec: &VmSpec, intent: Intent) -> Vec<Step<Action>> {
    let image = [
        step("apply-cpu-policy", Action::ApplyCpuPolicy, None),
        step("build-image", Action::BuildImage, None),
    ];
    bring_up(spec, intent, image.into())
}

/// A guest that is built before its VM is known.
pub(crate) fn shell() -> Vec<Step<Action>> {
    vec![
        step("record-intent", Action::RecordIntent(Intent::Shell), None),
        step("create-domain", Action::Create, Some(Action::Destroy)),
        step("allocate-vcpus", Action::AllocateVcpus, None),
        step("set-limits", Action::SetLimits, None),
        step("allocate-ports", Action::AllocatePorts, None),
        step("apply-cpu-policy", Action::ApplyCpuPolicy, None),
        step("build-image", Action::BuildImage, None),
    ]
}

/// The start of a VM whose guest is built already.
pub(crate) fn from_shell(spec: &VmSpec, intent: Intent) -> Vec<Step<Action>> {
    let mut steps = opened(spec, intent);
    steps.extend([
        step("take-shell", Action::TakeShell, Some(Action::Destroy)),
        step("set-scheduling", Action::SetScheduling, None),
    ]);
    steps.extend(described(spec));
    steps
}

/// A saved VM goes on. Its CPU policy is in the file.
pub(crate) fn restore(spec: &VmSpec, file: &Path) -> Vec<Step<Action>> {
    let open = step("open-file", Action::OpenSaved(file.to_owned()), None);
    let image = step("restore-image", Action::RestoreImage, None);
    let mut steps = bring_up(spec, Intent::Build, vec![image]);
    // After the intent, before the first thing that is made.
    steps.insert(1, open);
    // A guest that has run has changed its disks, so its file is used up: the journal says so before it runs.
    let last = steps.len() - 1;
    steps.swap(last - 1, last);
    // One that has not run has not used it up.
    steps[last - 1].undo = Some(Action::RecordNotRunning);
    steps
}

fn bring_up(spec: &VmSpec, intent: Intent, image: Vec<Step<Action>>) -> Vec<Step<Action>> {
    let mut steps = opened(spec, intent);
    steps.extend(empty());
    steps.extend(image);
    steps.push(step("release-claim", Action::ReleaseClaim, None));
    steps.extend(described(spec));
    steps
}

/// A domain with all but a guest in it.
fn empty() -> [Step<Action>; 6] {
    [
        step("create-domain", Action::Create, Some(Action::Destroy)),
        step("allocate-vcpus", Action::AllocateVcpus, None),
        step("set-limits", Action::SetLimits, None),
        step("claim-memory", Action::ClaimMemory, Some(Action::ReleaseClaim)),
        step("set-scheduling", Action::SetScheduling, None),
        step("allocate-ports", Action::AllocatePorts, None),
    ]
}

/// What comes before the domain.
fn opened(spec: &VmSpec, intent: Intent) -> Vec<Step<Action>> {
    let mut steps = vec![step("record-intent", Action::RecordIntent(intent), None)];
    let devices = Device::of(spec);
    let disks = devices.iter().filter(|device| device.is_disk());
    steps.extend(disks.map(open_disk));
    steps
}

/// What comes after the guest is in its memory.
fn described(spec: &VmSpec) -> Vec<Step<Action>> {
    let mut steps = vec![
        step("write-tree", Action::WriteTree, Some(Action::RemoveTree)),
        step("introduce", Action::Introduce, None),
    ];
    for device in Device::of(spec) {
        steps.extend(meet_backend(&device));
    }
    steps.extend([
        step("unpause", Action::Unpause, None),
        step("record-running", Action::RecordRunning, None),
    ]);
    steps
}

fn open_disk(device: &Device) -> Step<Action> {
    let (open, close) = (Action::OpenDisk(device.clone()), Action::CloseDisk(device.clone()));
    step("open-disk", open, Some(close))
}

/// dom0's end of a device is there.
fn meet_backend(device: &Device) -> Vec<Step<Action>> {
    let mut steps = vec![step("await-backend", Action::AwaitBackend(device.clone()), None)];
    if let Device::Nic(nic) = device {
        steps.push(step("plug-port", Action::PlugPort(nic.clone()), None));
    }
    steps
}

/// One more device for a VM that runs.
pub(crate) fn attach(device: &Device, limit: Duration) -> Vec<Step<Action>> {
    let mut steps = Vec::new();
    if device.is_disk() {
        steps.push(open_disk(device));
    }
    let unplug = Action::Unplug(device.key());
    steps.push(step("write-device", Action::WriteDevice(device.clone()), Some(unplug)));
    steps.extend(meet_backend(device));
    let without = Action::RecordWithout(device.clone());
    steps.extend([
        step("await-guest", Action::AwaitConnected(device.clone(), limit), None),
        step("record-device", Action::RecordWith(device.clone()), Some(without)),
    ]);
    steps
}

/// One device fewer for a VM that runs.
pub(crate) fn detach(device: &Device, patience: Patience) -> Vec<Step<Action>> {
    let key = device.key();
    let mut steps = vec![
        step("ask-guest", Action::AskClose(key), Some(Action::WithdrawClose(key))),
        step("await-guest", Action::AwaitClosed(device.clone(), patience), None),
        step("remove-device", Action::RemoveDevice(key), None),
    ];
    if device.is_disk() {
        steps.push(step("close-disk", Action::CloseDisk(device.clone()), None));
    }
    steps.push(step("record-device", Action::RecordWithout(device.clone()), None));
    steps
}

/// The guest suspends itself.
pub(crate) fn suspend(limit: Duration) -> Vec<Step<Action>> {
    vec![
        step("ask-guest", Action::AskSuspend, Some(Action::GoOn)),
        step("await-guest", Action::AwaitSuspended(limit), None),
    ]
}

/// The VM leaves while it runs: up to the point where the destination has all of it.
pub(crate) fn send(send: Send) -> Vec<Step<Action>> {
    let recorded = Action::RecordSending(send.clone());
    vec![
        step("record-sending", recorded, Some(Action::RecordNotSending)),
        step("send-guest", Action::SendGuest(send.clone()), Some(Action::GoOn)),
        step("await-ready", Action::AwaitReady(send), None),
        step("record-offered", Action::RecordOffered, None),
    ]
}

/// A VM comes while it runs: started when it is told to, and not before. The journal says so before it runs; after that nothing may fail.
/// What need not wait for it is there before it stands still: its tree, and dom0's ends of its NICs on their bridges.
pub(crate) fn receive(spec: &VmSpec) -> Vec<Step<Action>> {
    let mut steps = opened(spec, Intent::Build);
    // The source writes to the disks until its stream ends: they are opened after that, and closed when the domain is gone.
    for before in &mut steps {
        if let Action::OpenDisk(disk) = &before.action {
            (before.name, before.action) = ("look-at-disk", Action::LookAtDisk(disk.clone()));
        }
    }
    steps.extend(empty());
    steps.push(step("prepare-tree", Action::PrepareTree, Some(Action::RemoveTree)));
    let (disks, nics): (Vec<_>, Vec<_>) = Device::of(spec).into_iter().partition(Device::is_disk);
    steps.extend(nics.iter().flat_map(meet_backend));
    steps.push(step("receive-image", Action::ReceiveImage, None));
    let open = |disk: &Device| step("open-disk", Action::OpenDisk(disk.clone()), None);
    steps.extend(disks.iter().map(open));
    steps.extend([
        step("release-claim", Action::ReleaseClaim, None),
        step("complete-tree", Action::CompleteTree, None),
        step("introduce", Action::Introduce, None),
    ]);
    steps.extend(disks.iter().flat_map(meet_backend));
    steps.extend([
        step("await-verdict", Action::AwaitVerdict, None),
        step("record-arrived", Action::RecordArrived, Some(Action::RecordNotArrived)),
        step("unpause", Action::Unpause, None),
    ]);
    steps
}

/// A guest's memory into a file; `suspended` when the guest is so already, and stays so when it fails.
pub(crate) fn save(
    file: &Path,
    format: SavedFormat,
    suspended: bool,
    limit: Duration,
) -> Vec<Step<Action>> {
    let recorded = Action::RecordSaving(file.to_owned());
    let mut steps = vec![
        step("check-file", Action::CheckFile(file.to_owned()), None),
        step("record-saving", recorded, Some(Action::RecordNotSaving)),
    ];
    if !suspended {
        steps.extend(suspend(limit));
    }
    let (write, remove) =
        (Action::WriteSaved(file.into(), format), Action::RemoveSaved(file.into()));
    steps.push(step("write-file", write, Some(remove)));
    // Before the guest goes: an agent that finds only the file could not tell whether the guest has gone on since.
    steps.push(step("record-saved", Action::RecordSaved, Some(Action::RecordRunning)));
    steps
}

/// The end of a VM, in this order: a backend lets go of a dead guest's pages only when its tree is gone, and of its loop device
/// only then. Of a VM that was restored and may have run, the file goes too.
pub(crate) const END: [(&str, Action); 5] = [
    ("destroy-domain", Action::Kill),
    ("remove-tree", Action::RemoveTree),
    ("await-domain-gone", Action::AwaitGone),
    ("close-disks", Action::CloseAllDisks),
    ("remove-used-file", Action::RemoveUsed),
];
