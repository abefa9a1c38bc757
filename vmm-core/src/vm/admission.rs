//! Which request is admitted in which state: a pure table, asked by the one task that owns the VM.

use super::state::VmState;

/// What one may ask of a VM that an agent has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmRequest {
    /// Stop its vCPUs.
    Pause,
    /// Let them run again.
    Unpause,
    /// Ask the guest to power off.
    Shutdown,
    /// Ask the guest to reboot.
    Reboot,
    /// End it without asking the guest.
    Destroy,
    /// Bring vCPUs online or offline.
    SetVcpus,
    /// Move the balloon.
    SetMemory,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Do it.
    Accept,
    /// Nothing to do: it is so already, or on its way.
    Ignore,
    /// Refused, for this reason.
    Deny(Denied),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nothing runs.
    #[error("the VM is not running; start it first")]
    NotRunning,
    /// Its vCPUs are stopped, so the guest cannot answer.
    #[error("the VM is paused, so its guest cannot answer; unpause it first")]
    Paused,
    /// It goes down.
    #[error("the VM is shutting down or rebooting; wait for it, or destroy it")]
    GoingDown,
    /// It is being built.
    #[error("the VM is still starting; wait for it, or destroy it")]
    Starting,
}

/// Decides.
#[must_use]
pub fn admit(state: VmState, request: VmRequest) -> Admission {
    use Admission::{Accept, Deny, Ignore};
    use VmRequest::{Destroy, Pause, Reboot, SetMemory, SetVcpus, Shutdown, Unpause};
    match (state, request) {
        (VmState::Stopped(_), Destroy) => Ignore,
        (_, Destroy) => Accept,
        (VmState::Stopped(_), _) => Deny(Denied::NotRunning),
        (VmState::Starting, _) => Deny(Denied::Starting),
        (VmState::Running, Unpause) => Ignore,
        (VmState::Running, _) => Accept,
        (VmState::Paused, Pause) => Ignore,
        (VmState::Paused, Unpause) => Accept,
        (VmState::Paused, Shutdown | Reboot | SetVcpus | SetMemory) => Deny(Denied::Paused),
        (VmState::ShuttingDown, Shutdown) | (VmState::Rebooting, Reboot) => Ignore,
        // A guest that was asked to reboot may be asked to stay down.
        (VmState::Rebooting, Shutdown) => Accept,
        (VmState::ShuttingDown | VmState::Rebooting, _) => Deny(Denied::GoingDown),
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::StopReason;
    use super::*;

    const STATES: [VmState; 6] = [
        VmState::Starting,
        VmState::Running,
        VmState::Paused,
        VmState::ShuttingDown,
        VmState::Rebooting,
        VmState::Stopped(StopReason::Crash),
    ];

    #[test]
    fn destroy_is_never_denied() {
        for state in STATES {
            assert!(!matches!(admit(state, VmRequest::Destroy), Admission::Deny(_)), "{state:?}");
        }
    }

    #[test]
    fn requests_that_are_fulfilled_already_are_ignored() {
        for (state, request) in [
            (VmState::Paused, VmRequest::Pause),
            (VmState::Running, VmRequest::Unpause),
            (VmState::ShuttingDown, VmRequest::Shutdown),
            (VmState::Stopped(StopReason::New), VmRequest::Destroy),
        ] {
            assert_eq!(admit(state, request), Admission::Ignore, "{state:?} {request:?}");
        }
    }

    #[test]
    fn a_guest_that_cannot_answer_is_not_asked() {
        for request in [VmRequest::Shutdown, VmRequest::SetVcpus, VmRequest::SetMemory] {
            assert_eq!(admit(VmState::Paused, request), Admission::Deny(Denied::Paused));
        }
    }
}
