//! The task that owns one VM.
//!
//! What it waits for, in this order, so that a flood of one kind cannot hide a more important one:
//!
//! 1. the agent stops (the guest runs on);
//! 2. terminate: somebody wants the VM destroyed;
//! 3. attention: something was observed, look at the domain;
//! 4. the timer of a change that waits for its guest;
//! 5. requests for changes.
//!
//! At most one change waits for its guest at a time ([`Pending`]); others are refused as `Busy` meanwhile, but for those that
//! take a VM down. Nothing here waits for a guest in any other way, so a guest that answers nothing costs nothing but a timer.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vmm_core::task::Step;
use vmm_core::vm::admission::{Admission, VmRequest, admit};
use vmm_core::vm::{StopReason, VmState};

use super::alongside::{Alive, alongside};
use super::ends::Construction;
use super::pace::Pace;
use super::pending::Pending;
use super::plan::Action;
use super::site::Site;
use super::{Answer, Change, ChangeError, Outcome, VmView};
use crate::core::Core;
use crate::device::console::{Console, ConsoleRing};
use crate::journal::Record;

/// Where the answer to a request goes.
pub(crate) type Reply = oneshot::Sender<Outcome>;

/// A request for a change.
pub(crate) struct Command {
    pub(crate) change: Change,
    pub(crate) reply: Reply,
}

/// How the task begins.
pub(crate) enum Begin {
    /// Build the VM.
    Build(Box<Construction>, Option<Reply>),
    /// Its domain is there.
    Adopt,
    /// There is nothing to own; no task is started.
    Nothing,
}

/// The task's ends of a handle's connections.
pub(crate) struct Wires {
    pub(crate) changes: mpsc::Receiver<Command>,
    pub(crate) terminate: mpsc::Receiver<Reply>,
    pub(crate) attention: Arc<Notify>,
    pub(crate) view: watch::Sender<VmView>,
    pub(crate) console: Arc<ConsoleRing>,
}

/// What the task was woken by.
enum Wake {
    AgentStops,
    Terminate(Reply),
    Look,
    Timer,
    Request(Command),
}

pub(crate) struct Runner {
    pub(crate) site: Site,
    pub(crate) wires: Wires,
    pub(crate) pending: Option<Pending>,
    /// Who waits for what is being built.
    pub(crate) builders: Vec<Reply>,
    /// Who asked for the VM's end while something else was under way.
    pub(super) terminators: Vec<Reply>,
    /// The guest was asked to suspend and is not any more, but it may have heard.
    pub(super) may_suspend_late: bool,
    pub(super) console: Option<Console>,
    pub(super) pace: Pace,
}

/// Which entry of the admission table a change asks for.
pub(crate) fn request_of(change: &Change) -> VmRequest {
    match change {
        Change::Pause => VmRequest::Pause,
        Change::Unpause => VmRequest::Unpause,
        Change::Shutdown { .. } => VmRequest::Shutdown,
        Change::Reboot { .. } => VmRequest::Reboot,
        Change::SetVcpus { .. } => VmRequest::SetVcpus,
        Change::SetMemory { .. } | Change::Balloon { .. } => VmRequest::SetMemory,
        Change::Suspend { .. } => VmRequest::Suspend,
        Change::Resume => VmRequest::Resume,
        Change::Save { .. } => VmRequest::Save,
        Change::Attach { .. } | Change::Detach { .. } | Change::ResizeDisk { .. } => {
            VmRequest::ChangeDevice
        }
        Change::Migrate(_) => VmRequest::Migrate,
        Change::Rename(_) | Change::Configure(_) => VmRequest::Configure,
    }
}

/// Owns the VM until it is stopped or the agent is.
pub(crate) async fn run(core: Arc<Core>, record: Record, wires: Wires, begin: Begin) {
    let site = Site::new(core, record);
    let mut runner = Runner {
        site,
        wires,
        pending: None,
        builders: Vec::new(),
        terminators: Vec::new(),
        may_suspend_late: false,
        console: None,
        pace: Pace::default(),
    };
    match begin {
        Begin::Build(construction, reply) => {
            runner.builders.extend(reply);
            runner.build(*construction).await;
        }
        Begin::Adopt => runner.take_over().await,
        Begin::Nothing => return,
    }
    loop {
        for reply in std::mem::take(&mut runner.terminators) {
            runner.terminate(reply).await;
        }
        if !runner.state().has_domain() {
            return;
        }
        match runner.wake().await {
            Wake::AgentStops => return,
            Wake::Terminate(reply) => runner.terminate(reply).await,
            Wake::Look => runner.look().await,
            Wake::Timer => runner.timer().await,
            Wake::Request(command) => runner.request(command).await,
        }
    }
}

impl Runner {
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.site.core
    }

    pub(crate) fn state(&self) -> VmState {
        self.wires.view.borrow().state
    }

    async fn wake(&mut self) -> Wake {
        let due = self.pending.as_ref().map(Pending::due);
        let stop = self.site.core.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => Wake::AgentStops,
            Some(reply) = self.wires.terminate.recv() => Wake::Terminate(reply),
            () = self.wires.attention.notified() => Wake::Look,
            () = sleep_until(due) => Wake::Timer,
            Some(command) = self.wires.changes.recv() => Wake::Request(command),
            else => Wake::AgentStops,
        }
    }

    /// Tells everybody what the VM is now.
    pub(crate) fn publish(&self, state: VmState, reason: &str) {
        let before = self.state();
        debug_assert!(before == state || before.may_become(state), "{before:?} to {state:?}");
        let domid = self.site.record.domid.filter(|_| state.has_domain());
        tracing::info!(
            vm_id = %self.site.record.vm, domid = domid.map(|id| id.get()), ?state, reason,
            "VM changed"
        );
        self.wires.view.send_modify(|view| {
            view.state = state;
            reason.clone_into(&mut view.reason);
            view.domid = domid;
            view.generation = self.site.core.next_generation();
        });
    }

    /// Tells everybody to look again: the guest has more or less of something now.
    pub(super) fn publish_size(&self) {
        self.wires.view.send_modify(|view| view.generation = self.site.core.next_generation());
    }

    /// Drains the new domain's console.
    pub(crate) fn open_console(&mut self) {
        let Ok(domid) = self.site.domid() else { return };
        let (core, vm) = (self.site.core.clone(), self.site.record.vm);
        self.console = Some(Console::open(core, vm, domid, self.wires.console.clone()));
    }

    /// Hears the last words of a guest that has ended by itself.
    pub(super) async fn close_console(&mut self) {
        if let Some(console) = self.console.take() {
            console.close().await;
        }
    }

    /// What the VM shall be has changed.
    pub(super) fn publish_spec(&self) {
        let spec = Arc::new(self.site.record.spec.clone());
        self.wires.view.send_modify(|view| {
            view.spec = spec;
            view.generation = self.site.core.next_generation();
        });
    }

    /// Carries a plan out on the running VM. Its guest's end, a destroy, and the agent's end take it back.
    pub(super) async fn carry_out(&mut self, plan: Vec<Step<Action>>) -> Result<(), ChangeError> {
        let Ok(domid) = self.site.domid() else { return Err(ChangeError::Busy) };
        let (core, vm) = (self.core().clone(), self.site.record.vm);
        let (cancel, stop) = (CancellationToken::new(), core.stop.clone());
        let done = {
            let Self { site, wires, .. } = self;
            let alive = Alive { core, vm, domid };
            let work = site.perform(plan, &cancel).boxed();
            alongside(wires, Some(alive), (&cancel, stop.clone()), work).await
        };
        let destroyed = !done.terminators.is_empty();
        self.terminators.extend(done.terminators);
        match done.value {
            Err(ChangeError::Step { source, left_over, .. })
                if source.is_cancel() && left_over.is_empty() =>
            {
                Err(match (destroyed, stop.is_cancelled()) {
                    (true, _) => ChangeError::Superseded("the VM was destroyed"),
                    (false, true) => ChangeError::Stopping,
                    (false, false) => ChangeError::Stopped("its guest ended".into()),
                })
            }
            outcome => outcome,
        }
    }

    async fn terminate(&mut self, reply: Reply) {
        if let Some(pending) = self.pending.take() {
            pending.answer(Err(ChangeError::Superseded("the VM was destroyed")));
        }
        if self.state().has_domain() {
            self.end(StopReason::Destroyed, "").await;
        }
        let _ = reply.send(self.ended());
    }

    async fn request(&mut self, command: Command) {
        let Command { change, reply } = command;
        match admit(self.state(), request_of(&change)) {
            Admission::Ignore => self.ignore(reply),
            Admission::Deny(denied) => {
                let _ = reply.send(Err(denied.into()));
            }
            Admission::Accept => self.begin(change, reply).boxed().await,
        }
    }

    /// It is so already, or on its way: then the answer comes with that of the first who asked.
    fn ignore(&mut self, reply: Reply) {
        match &mut self.pending {
            Some(Pending::Down(wait)) => wait.join(reply),
            _ => {
                let _ = reply.send(Ok(Answer::Done));
            }
        }
    }
}

/// Never, when there is nothing to wait for.
async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
