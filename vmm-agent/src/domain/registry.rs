//! Which VMs the agent knows, and how to reach the task of each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot, watch};
use vmm_core::id::VmId;
use vmm_core::units::Kib;
use vmm_core::vm::admission::{Admission, VmRequest, admit};
use vmm_core::vm::{VmSpec, VmState};

use super::ends::{Construction, Room, When, flavour, shell};
use super::migration::Stage;
use super::migration::destination::Arriving;
use super::runner::{self, Begin, Command, Wires};
use super::{Answer, Change, ChangeError, Outcome, VmView, room};
use crate::core::Core;
use crate::device::console::ConsoleRing;
use crate::journal::{Intent, Record};
use crate::stats::VmHistory;

/// Changes that wait for a VM's task.
const QUEUE_MAX: usize = 16;
/// Stopped VMs that are remembered until the manager has seen them.
const STOPPED_MAX: usize = 256;

/// How to reach one VM. Cheap to clone.
#[derive(Clone)]
pub(crate) struct VmHandle {
    pub(crate) vm: VmId,
    /// Who asked for the build, with which idempotency key.
    pub(crate) build_key: Option<String>,
    pub(crate) view: watch::Receiver<VmView>,
    pub(crate) console: Arc<ConsoleRing>,
    pub(crate) history: Arc<VmHistory>,
    changes: mpsc::Sender<Command>,
    terminate: mpsc::Sender<oneshot::Sender<Outcome>>,
    attention: Arc<Notify>,
}

impl VmHandle {
    /// What the VM is now.
    pub(crate) fn now(&self) -> VmView {
        self.view.borrow().clone()
    }

    /// What the VM shall be, with what was attached or changed since it started.
    pub(crate) fn spec(&self) -> Arc<VmSpec> {
        self.view.borrow().spec.clone()
    }

    /// Makes the VM's task look at its domain.
    pub(crate) fn attend(&self) {
        self.attention.notify_one();
    }

    /// Asks for a change and waits for its end.
    pub(crate) async fn change(&self, change: Change) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        let request = runner::request_of(&change);
        match self.changes.try_send(Command { change, reply }) {
            Ok(()) => self.outcome(outcome, request).await,
            Err(mpsc::error::TrySendError::Full(_)) => Err(ChangeError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => self.of_stopped(request),
        }
    }

    /// Ends the VM, whatever it does.
    pub(crate) async fn destroy(&self) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        match self.terminate.try_send(reply) {
            Ok(()) => self.outcome(outcome, VmRequest::Destroy).await,
            Err(mpsc::error::TrySendError::Full(_)) => Err(ChangeError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => self.of_stopped(VmRequest::Destroy),
        }
    }

    async fn outcome(&self, outcome: oneshot::Receiver<Outcome>, request: VmRequest) -> Outcome {
        match outcome.await {
            Ok(outcome) => outcome,
            // The task ended with the request in its queue.
            Err(_) => self.of_stopped(request),
        }
    }

    fn of_stopped(&self, request: VmRequest) -> Outcome {
        let view = self.now();
        match admit(view.state, request) {
            Admission::Ignore if view.left_over => Err(ChangeError::LeftOver(view.reason)),
            Admission::Ignore => Ok(Answer::Done),
            Admission::Deny(denied) => Err(denied.into()),
            Admission::Accept => Err(ChangeError::Stopping),
        }
    }
}

/// All VMs, in order of id.
#[derive(Default)]
pub(crate) struct Registry {
    vms: Mutex<BTreeMap<VmId, VmHandle>>,
    /// Held from the admission of a build to its entry.
    gate: Mutex<()>,
    /// VMs that come or go just now: nobody else may build or forget them.
    claimed: Mutex<BTreeSet<VmId>>,
}

/// One VM that comes or goes; given back when dropped.
struct Claim {
    core: Arc<Core>,
    vm: VmId,
}

impl Claim {
    /// `Busy` when somebody else has it.
    fn take(core: &Arc<Core>, vm: VmId) -> Result<Self, ChangeError> {
        let free = core.registry.claims().insert(vm);
        if free { Ok(Self { core: Arc::clone(core), vm }) } else { Err(ChangeError::Busy) }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.core.registry.claims().remove(&self.vm);
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<VmId, VmHandle>> {
        self.vms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claims(&self) -> MutexGuard<'_, BTreeSet<VmId>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, vm: VmId) -> Option<VmHandle> {
        self.lock().get(&vm).cloned()
    }

    pub(crate) fn all(&self) -> Vec<VmHandle> {
        self.lock().values().cloned().collect()
    }

    pub(crate) fn forget(&self, vm: VmId) {
        self.lock().remove(&vm);
    }

    /// The VMs that stopped longest ago, when there are too many to remember.
    pub(crate) fn too_many_stopped(&self) -> Vec<VmId> {
        let vms = self.lock();
        let mut stopped: Vec<(u64, VmId)> = vms
            .values()
            .map(|handle| (handle.now(), handle.vm))
            .filter(|(view, _)| !view.state.has_domain() && !view.left_over)
            .map(|(view, vm)| (view.generation, vm))
            .collect();
        stopped.sort_unstable();
        let surplus = stopped.len().saturating_sub(STOPPED_MAX);
        stopped.into_iter().take(surplus).map(|(_, vm)| vm).collect()
    }

    /// Refuses a build of a VM that is there.
    fn admit(&self, vm: VmId) -> Result<(), ChangeError> {
        let live = |handle: &VmHandle| {
            let view = handle.now();
            view.state.has_domain() || view.left_over
        };
        if self.lock().get(&vm).is_some_and(live) {
            let text =
                "the VM runs on this host already, or has left something behind; destroy it first";
            return Err(ChangeError::Conflict(text.into()));
        }
        Ok(())
    }

    fn insert(&self, core: &Arc<Core>, record: Record, first: VmView, begin: Begin) -> VmHandle {
        let (changes, change_queue) = mpsc::channel(QUEUE_MAX);
        let (terminate, terminate_queue) = mpsc::channel(QUEUE_MAX);
        let (view_sender, view) = watch::channel(first);
        let handle = VmHandle {
            vm: record.vm,
            build_key: record.build_key.clone(),
            view,
            console: Arc::default(),
            history: Arc::default(),
            changes,
            terminate,
            attention: Arc::default(),
        };
        let wires = Wires {
            changes: change_queue,
            terminate: terminate_queue,
            attention: handle.attention.clone(),
            view: view_sender,
            console: handle.console.clone(),
        };
        self.lock().insert(record.vm, handle.clone());
        if !matches!(begin, Begin::Nothing) {
            core.spawn(runner::run(core.clone(), record, wires, begin));
        }
        handle
    }
}

fn view(core: &Core, state: VmState, record: &Record) -> VmView {
    VmView {
        generation: core.next_generation(),
        state,
        reason: record.reason.clone(),
        domid: record.domid.filter(|_| state.has_domain()),
        left_over: false,
        spec: Arc::new(record.spec.clone()),
    }
}

/// A VM to be built.
pub(crate) struct Build {
    pub(crate) vm: VmId,
    pub(crate) spec: VmSpec,
    /// The file that its memory is in; it boots when there is none.
    pub(crate) saved: Option<PathBuf>,
    /// It comes from another host.
    pub(crate) arriving: Option<Arriving>,
    pub(crate) key: Option<String>,
}

/// Builds a VM and waits until it runs, or until nothing of it is left.
pub(crate) async fn build(core: &Arc<Core>, build: Build) -> Outcome {
    let (handle, outcome) = begin(core, build).await?;
    handle.outcome(outcome, VmRequest::Unpause).await
}

/// Makes room and a shell for a VM that comes from another host. Answers when its pages may come.
pub(crate) async fn receive(
    core: &Arc<Core>,
    vm: VmId,
    spec: VmSpec,
    arriving: Arriving,
) -> Outcome {
    let migration = arriving.migration.clone();
    let build = Build { vm, spec, saved: None, arriving: Some(arriving), key: None };
    let (handle, outcome) = begin(core, build).await?;
    let mut stage = migration.stage();
    tokio::select! {
        biased;
        outcome = handle.outcome(outcome, VmRequest::Unpause) => outcome,
        _ = stage.wait_for(|(stage, _)| *stage == Stage::Receiving) => Ok(Answer::Done),
    }
}

async fn begin(
    core: &Arc<Core>,
    build: Build,
) -> Result<(VmHandle, oneshot::Receiver<Outcome>), ChangeError> {
    let Build { vm, spec, saved, arriving, key } = build;
    let claim = Claim::take(core, vm)?;
    core.registry.admit(vm)?;
    refuse_shared_images(core, vm, &spec).await?;
    refuse_strange_domain(core, vm).await?;
    let flavour = flavour(core, &spec, saved.is_some() || arriving.is_some()).await;
    let room = match shell(core, flavour.as_ref()).await {
        Some(shell) => Some(shell),
        None => {
            let holds = match (&saved, &arriving) {
                (Some(file), _) => as_saved(core, vm, &spec, file.clone()).await,
                (None, Some(arriving)) => with_memory(&spec, arriving.memory),
                (None, None) => spec.clone(),
            };
            let promise = room::promise_or_later(core, room::Need::to_build(vm, &holds)).await?;
            promise.map(Room::Promise)
        }
    };
    let (reply, outcome) = oneshot::channel();
    let (moving, state) = match &arriving {
        Some(arriving) => (Some(arriving.moving()), VmState::Arriving),
        None => (None, VmState::Starting),
    };
    let record = Record { saved: saved.clone(), moving, ..Record::new(vm, spec, key) };
    let construction = Construction { room, saved, arriving, ..Construction::now(Intent::Build) };
    let begin = Begin::Build(Box::new(construction), Some(reply));
    let handle = {
        // Another build may have come in meanwhile, but none can from here on.
        let _gate = core.registry.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = core.registry.admit(vm) {
            if let Begin::Build(construction, _) = begin {
                construction.give_back(core);
            }
            return Err(error);
        }
        let first = view(core, state, &record);
        core.registry.insert(core, record, first, begin)
    };
    drop(claim);
    Ok((handle, outcome))
}

/// With the memory that a saved guest has, which may have grown since it booted. A file that is refused fails the restore, which
/// says why.
async fn as_saved(core: &Core, vm: VmId, spec: &VmSpec, file: PathBuf) -> VmSpec {
    let files = core.saved.clone();
    let opened = core.run(move |_| files.open(&file, vm)).await;
    let saved = opened.map_or(Kib(0), |file| file.size().memory);
    with_memory(spec, saved)
}

fn with_memory(spec: &VmSpec, memory: Kib) -> VmSpec {
    let memory = spec.memory.max(memory);
    VmSpec { memory, memory_max: spec.memory_max.max(memory), ..spec.clone() }
}

/// Told before anything is done; the lease that the build takes has the last word.
async fn refuse_shared_images(core: &Core, vm: VmId, spec: &VmSpec) -> Result<(), ChangeError> {
    for disk in &spec.disks {
        let path = PathBuf::from(&disk.path);
        // An image that cannot be looked at fails the build, which says why.
        let Ok(backing) = core.run(move |host| host.dom0.backing(&path)).await else { continue };
        if let Some(other) = core.leases.holder((&backing).into(), vm, disk.read_only) {
            let other = core.registry.get(other).map(|other| other.spec().name.to_string());
            return Err(ChangeError::Conflict(format!(
                "the disk image {} is in use by VM {}; stop that VM, or make both disks read-only",
                disk.path,
                other.unwrap_or_default()
            )));
        }
    }
    Ok(())
}

async fn refuse_strange_domain(core: &Core, vm: VmId) -> Result<(), ChangeError> {
    let list = core.run(|host| host.xen.control.list()).await;
    let list = list.map_err(|error| ChangeError::step("look-for-domain", error))?;
    match list.iter().find(|domain| domain.handle.0 == vm.bytes()) {
        None => Ok(()),
        Some(domain) => Err(ChangeError::Conflict(format!(
            "domain {} has this VM's uuid and was not made by this agent; end it with its own tool",
            domain.domid
        ))),
    }
}

/// Takes over a domain that runs.
pub(crate) fn adopt(core: &Arc<Core>, record: Record, state: VmState) {
    let first = view(core, state, &record);
    core.registry.insert(core, record, first, Begin::Adopt).attend();
}

/// Builds a VM whose reboot was interrupted.
pub(crate) fn rebuild(core: &Arc<Core>, record: Record) {
    let first = view(core, VmState::Rebooting, &record);
    let begin = Begin::Build(Box::new(Construction::now(Intent::Rebuild)), None);
    core.registry.insert(core, record, first, begin);
}

/// Builds a VM again that was running when the host went down, when it is told to.
pub(crate) fn start_again(
    core: &Arc<Core>,
    record: Record,
    told: oneshot::Receiver<()>,
) -> VmHandle {
    let first = view(core, VmState::Starting, &record);
    let construction =
        Construction { when: When::Told(told), ..Construction::now(Intent::Rebuild) };
    core.registry.insert(core, record, first, Begin::Build(Box::new(construction), None))
}

/// Remembers a VM that does not run.
pub(crate) fn remember(core: &Arc<Core>, record: Record, left_over: bool) {
    let state = VmState::Stopped(record.stop);
    let first = VmView { left_over, ..view(core, state, &record) };
    core.registry.insert(core, record, first, Begin::Nothing);
}

/// A VM that was to come, and of which nothing is here: it is as if nobody had heard of it.
pub(crate) async fn forget_arrival(core: &Core, vm: VmId) {
    let journal = core.journal.clone();
    if let Err(error) = core.env.blocking.run(move || journal.remove(vm)).await {
        tracing::warn!(vm_id = %vm, %error, "the record of a discarded VM stays");
    }
    core.registry.forget(vm);
    core.next_generation();
}

/// Forgets a VM that does not run; what it left behind is tried again first.
pub(crate) async fn forget(core: &Arc<Core>, handle: &VmHandle) -> Outcome {
    let vm = handle.vm;
    let _claim = Claim::take(core, vm)?;
    // Whoever was faster has built it anew; that one is not the one to forget.
    if !core.registry.get(vm).is_some_and(|now| Arc::ptr_eq(&now.history, &handle.history)) {
        return Err(ChangeError::Busy);
    }
    if handle.now().left_over {
        super::adopt::clean_again(core, vm).await?;
    }
    let journal = core.journal.clone();
    let removed = core.env.blocking.run(move || journal.remove(vm)).await;
    removed.map_err(|error| ChangeError::step("forget-record", error))?;
    core.registry.forget(vm);
    core.next_generation();
    Ok(Answer::Done)
}
