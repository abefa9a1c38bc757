//! Long work of a VM's task, while it goes on hearing what happens.
//!
//! A plan is carried out inside the task that owns the VM, so the task would be deaf meanwhile. Here it listens: a request to
//! destroy the VM, the end of the guest and the end of the agent cancel the work, which then takes back what it began; all other
//! changes are refused as busy.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use vmm_core::id::VmId;
use vmm_core::vm::VmState;
use vmm_core::vm::admission::{Admission, admit};
use xen_bindings::{DomId, RunState, ShutdownReason};

use super::runner::{Command, Reply, Wires, request_of};
use super::{Answer, ChangeError};
use crate::core::Core;

/// A guest whose end ends the work.
pub(super) struct Alive {
    pub(super) core: Arc<Core>,
    pub(super) vm: VmId,
    pub(super) domid: DomId,
}

impl Alive {
    /// False when its domain is gone, dying or shut down, but for one that has suspended. One that cannot be looked at is
    /// believed to live.
    async fn is_so(&self) -> bool {
        let domid = self.domid;
        match self.core.run(move |host| host.xen.control.info(domid)).await {
            Err(_) => true,
            Ok(info) => {
                info.filter(|info| info.handle.0 == self.vm.bytes()).is_some_and(|info| match info
                    .state
                {
                    RunState::Dying => false,
                    RunState::Shutdown(reason) => reason == ShutdownReason::Suspend,
                    _ => true,
                })
            }
        }
    }
}

/// What came of the work, and who wants the VM destroyed meanwhile.
pub(super) struct Outcome<T> {
    pub(super) value: T,
    pub(super) terminators: Vec<Reply>,
}

/// Does `work` alongside. It must watch `cancel`.
pub(super) async fn alongside<T>(
    wires: &mut Wires,
    alive: Option<Alive>,
    (cancel, stop): (&CancellationToken, CancellationToken),
    work: impl Future<Output = T>,
) -> Outcome<T> {
    let state = wires.view.borrow().state;
    let mut terminators = Vec::new();
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            Some(reply) = wires.terminate.recv() => {
                terminators.push(reply);
                cancel.cancel();
            }
            () = stop.cancelled(), if !cancel.is_cancelled() => cancel.cancel(),
            value = &mut work => return Outcome { value, terminators },
            () = wires.attention.notified(), if alive.is_some() && !cancel.is_cancelled() => {
                if let Some(alive) = &alive && !alive.is_so().await {
                    cancel.cancel();
                }
            }
            Some(command) = wires.changes.recv() => refuse(state, command),
        }
    }
}

fn refuse(state: VmState, command: Command) {
    let outcome = match admit(state, request_of(&command.change)) {
        Admission::Ignore => Ok(Answer::Done),
        Admission::Deny(denied) => Err(denied.into()),
        Admission::Accept => Err(ChangeError::Busy),
    };
    let _ = command.reply.send(outcome);
}
