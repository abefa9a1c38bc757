//! VMs on this host: one task owns one VM, and nothing else changes it.
//!
//! ```text
//!   registry   which VMs there are: a handle each ──► queue of changes, terminate queue, attention bell ──► runner
//!   runner     the task: build or adopt ─► wait for something ─► act ─► publish ─► …  ─► stopped, and the task ends
//!     ├─ ends       its first and last acts, and who waits for them
//!     ├─ plan       changes as data; perform carries them out, step by step, on a [`site`]
//!     ├─ lifecycle  pause, unpause, shutdown, and what the runner makes of a domain that has shut down
//!     ├─ reboot     the same VM in a new domain
//!     ├─ pending    the one change that waits for its guest
//!     ├─ hotplug    vCPUs, memory, disks, NICs: ask, wait, report what the guest really did
//!     ├─ suspend    suspend, resume, save
//!     ├─ configure  name, scheduling, what follows an end: all that needs no guest
//!     └─ tree       the domain's nodes in xenstore
//!   migration  VMs that come and go while they run
//!   adopt      what a restarted agent makes of its journal and of what it finds
//!   shells     guests built before their VM is asked for
//!   room       memory promised to builds and growth under way
//! ```
//!
//! What a VM is goes out as a [`VmView`] through a `watch`, with a generation that grows over restarts of the agent. A change is
//! admitted by [`vmm_core::vm::admission`]; it fails with a [`ChangeError`], which says what to do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vmm_core::units::Kib;
use vmm_core::vm::{Autostart, OnEvent, Scheduling, VmName, VmSpec, VmState};
use vmm_proto::v1::SavedFormat;
use xen_bindings::DomId;

use crate::device::{Device, DeviceKey};
use migration::source::{Offer, Send};
use plan::Patience;

pub(crate) mod adopt;
mod alongside;
mod autostart;
mod configure;
mod ends;
mod error;
pub(crate) mod hotplug;
mod lifecycle;
pub(crate) mod migration;
mod pace;
mod pending;
mod perform;
pub(crate) mod plan;
mod reboot;
pub(crate) mod registry;
pub(crate) mod room;
pub(crate) mod runner;
pub(crate) mod shells;
pub(crate) mod site;
mod suspend;
pub(crate) mod tree;

pub(crate) use error::{ChangeError, Remedy, StepError};

/// What others see of a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VmView {
    /// Grows with each change.
    pub(crate) generation: u64,
    pub(crate) state: VmState,
    /// In words, when it stopped by itself or failed.
    pub(crate) reason: String,
    pub(crate) domid: Option<DomId>,
    /// The end of the VM did not take everything back.
    pub(crate) left_over: bool,
    /// What it shall be, with what was attached or changed since it started.
    pub(crate) spec: Arc<VmSpec>,
}

/// What one can ask of a VM that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Pause,
    Unpause,
    Shutdown {
        wait: Duration,
    },
    Reboot {
        wait: Duration,
    },
    SetVcpus {
        vcpus: u32,
        wait: Duration,
    },
    SetMemory {
        memory: Kib,
        wait: Duration,
    },
    /// As the balloon policy says: within what was agreed, and answered before the guest has followed.
    Balloon {
        target: Kib,
    },
    Suspend {
        wait: Duration,
    },
    Resume,
    Save {
        file: PathBuf,
        format: SavedFormat,
        wait: Duration,
    },
    Attach {
        device: Device,
        wait: Duration,
    },
    Detach {
        device: DeviceKey,
        patience: Patience,
    },
    ResizeDisk {
        device: String,
        bytes: u64,
        wait: Duration,
    },
    Migrate(Box<Send>),
    Rename(VmName),
    Configure(Knobs),
}

/// What can be changed without asking the guest; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Knobs {
    pub(crate) memory_min: Option<Kib>,
    pub(crate) scheduling: Option<Scheduling>,
    pub(crate) on_event: Option<OnEvent>,
    /// `Some(None)` takes the autostart back.
    pub(crate) autostart: Option<Option<Autostart>>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Vcpus {
        asked: u32,
        online: u32,
        note: String,
    },
    Memory {
        asked: Kib,
        reached: Kib,
        note: String,
    },
    /// The destination has all of it.
    Offered(Box<Offer>),
}

/// How a change ended.
pub(crate) type Outcome = Result<Answer, ChangeError>;
