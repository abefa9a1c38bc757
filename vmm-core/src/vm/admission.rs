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
    /// Ask the guest to suspend.
    Suspend,
    /// Let a suspended guest go on.
    Resume,
    /// Suspend it and write its memory to a file.
    Save,
    /// Move it to another host while it runs.
    Migrate,
    /// Attach, detach or resize a device: the guest must answer.
    ChangeDevice,
    /// Change what needs no guest: name, scheduling, what follows an end.
    Configure,
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
    /// It is being suspended or saved.
    #[error("the VM is being suspended or saved; wait for it, or destroy it")]
    Suspending,
    /// It is suspended.
    #[error("the VM is suspended, so its guest cannot answer; resume it first")]
    Suspended,
    /// It is being copied to another host.
    #[error("the VM is being moved to another host; wait for it, or cancel the task that moves it")]
    Migrating,
    /// It is being copied to this host.
    #[error(
        "the VM is on its way to this host and does not run here yet; wait for it, or cancel the task that moves it"
    )]
    Arriving,
    /// It has ended and its domain is kept.
    #[error("the VM has ended and its domain is preserved; destroy it, then start it")]
    Preserved,
}

/// Decides.
#[must_use]
pub fn admit(state: VmState, request: VmRequest) -> Admission {
    use Admission::{Accept, Deny, Ignore};
    use VmRequest::{Configure, Destroy, Pause, Reboot, Resume, Save, Shutdown, Suspend, Unpause};
    match (state, request) {
        (VmState::Stopped(_), Destroy) => Ignore,
        (_, Destroy) => Accept,
        (VmState::Stopped(_), _) => Deny(Denied::NotRunning),
        (VmState::Starting, _) => Deny(Denied::Starting),
        (VmState::Preserved, _) => Deny(Denied::Preserved),
        (VmState::Migrating, _) => Deny(Denied::Migrating),
        (VmState::Arriving, _) => Deny(Denied::Arriving),
        (_, Configure) => Accept,
        (VmState::Running, Unpause | Resume) => Ignore,
        (VmState::Running, _) => Accept,
        (VmState::Paused, Pause) => Ignore,
        (VmState::Paused, Unpause) => Accept,
        (VmState::Paused, _) => Deny(Denied::Paused),
        (VmState::Suspending | VmState::Suspended, Suspend) => Ignore,
        (VmState::Suspended, Resume | Save) => Accept,
        (VmState::Suspended, _) => Deny(Denied::Suspended),
        (VmState::Suspending | VmState::Saving, _) => Deny(Denied::Suspending),
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

    const STATES: [VmState; 12] = [
        VmState::Starting,
        VmState::Running,
        VmState::Paused,
        VmState::ShuttingDown,
        VmState::Rebooting,
        VmState::Suspending,
        VmState::Suspended,
        VmState::Saving,
        VmState::Migrating,
        VmState::Arriving,
        VmState::Preserved,
        VmState::Stopped(StopReason::Crash),
    ];

    #[test]
    fn destroy_is_never_denied() {
        for state in STATES {
            assert!(!matches!(admit(state, VmRequest::Destroy), Admission::Deny(_)), "{state:?}");
        }
    }

    #[test]
    fn only_a_running_vm_is_moved() {
        for state in STATES {
            let expect = state == VmState::Running;
            assert_eq!(admit(state, VmRequest::Migrate) == Admission::Accept, expect, "{state:?}");
        }
    }

    #[test]
    fn nothing_but_its_end_is_admitted_while_a_vm_is_moved() {
        for request in [
            VmRequest::Pause,
            VmRequest::Unpause,
            VmRequest::Shutdown,
            VmRequest::Reboot,
            VmRequest::SetVcpus,
            VmRequest::SetMemory,
            VmRequest::Suspend,
            VmRequest::Resume,
            VmRequest::Save,
            VmRequest::Migrate,
            VmRequest::ChangeDevice,
            VmRequest::Configure,
        ] {
            let denied = |state| admit(state, request);
            assert_eq!(denied(VmState::Migrating), Admission::Deny(Denied::Migrating));
            assert_eq!(denied(VmState::Arriving), Admission::Deny(Denied::Arriving));
        }
    }

    #[test]
    fn requests_that_are_fulfilled_already_are_ignored() {
        for (state, request) in [
            (VmState::Paused, VmRequest::Pause),
            (VmState::Running, VmRequest::Unpause),
            (VmState::ShuttingDown, VmRequest::Shutdown),
            (VmState::Suspended, VmRequest::Suspend),
            (VmState::Running, VmRequest::Resume),
            (VmState::Stopped(StopReason::New), VmRequest::Destroy),
        ] {
            assert_eq!(admit(state, request), Admission::Ignore, "{state:?} {request:?}");
        }
    }

    #[test]
    fn a_guest_that_cannot_answer_is_not_asked() {
        for request in [
            VmRequest::Shutdown,
            VmRequest::SetVcpus,
            VmRequest::SetMemory,
            VmRequest::ChangeDevice,
        ] {
            assert_eq!(admit(VmState::Paused, request), Admission::Deny(Denied::Paused));
            assert_eq!(admit(VmState::Suspended, request), Admission::Deny(Denied::Suspended));
        }
    }
}
