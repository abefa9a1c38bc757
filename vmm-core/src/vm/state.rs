//! What a VM does now, and which changes of that make sense.

/// Why a VM does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// Never started.
    New,
    /// The guest powered itself off.
    Poweroff,
    /// The guest's kernel crashed.
    Crash,
    /// An operator destroyed it.
    Destroyed,
    /// It could not be built or started.
    Failed,
    /// It was gone when the agent looked: the host restarted, or somebody else destroyed it.
    Lost,
    /// Its memory was saved to a file; it can be restored from there.
    Saved,
    /// It was moved while it ran: it runs on another host now.
    Migrated,
}

/// What a VM does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VmState {
    /// Being built.
    Starting,
    /// Running.
    Running,
    /// Stopped by the toolstack; continues where it was.
    Paused,
    /// Asked to power off.
    ShuttingDown,
    /// Asked to reboot, or being built anew after it did.
    Rebooting,
    /// Asked to suspend.
    Suspending,
    /// Suspended by its own doing; its memory stays where it is, and it continues there.
    Suspended,
    /// Suspended, or asked to be, and being written to a file.
    Saving,
    /// It runs here, or stands still for the last moment, and is being copied to another host.
    Migrating,
    /// Being copied from another host, on which it runs. Nothing of it runs here.
    Arriving,
    /// It has ended, and its domain is kept for whoever wants to look.
    Preserved,
    /// Not on any host.
    Stopped(StopReason),
}

impl VmState {
    /// Does a domain exist for it?
    #[must_use]
    pub fn has_domain(self) -> bool {
        !matches!(self, Self::Stopped(_))
    }

    /// May a VM go from this state to `next`?
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use VmState::{
            Arriving, Migrating, Paused, Preserved, Rebooting, Running, Saving, ShuttingDown,
            Starting, Stopped, Suspended, Suspending,
        };
        match (self, next) {
            // Whatever runs can crash, be destroyed or be lost at any time.
            (from, Stopped(_)) => from.has_domain(),
            (Stopped(_), Starting | Arriving) => true,
            (Preserved, _) => false,
            // So can it end in a way that its domain is kept.
            (from, Preserved) => from.has_domain(),
            (Starting, Running | Paused) => true,
            (Running, Paused | ShuttingDown | Rebooting | Suspending | Saving | Migrating) => true,
            (Paused | Arriving, Running) => true,
            // It came to nothing; or the guest rebooted or suspended by itself meanwhile.
            (Migrating, Running | Rebooting | Suspended) => true,
            // A guest may do it late, unasked, or not at all.
            (Running | Suspending | Saving | ShuttingDown | Rebooting, Suspended) => true,
            (Suspending | Saving, Running) => true,
            (Suspended, Running | Saving) => true,
            // One that reboots instead of doing what it was asked.
            (Suspending | Saving, Rebooting) => true,
            // The guest may refuse to go down, or turn a shutdown into a reboot.
            (ShuttingDown, Running | Rebooting) | (Rebooting, Running | ShuttingDown) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_vm_can_only_start_or_arrive() {
        let stopped = VmState::Stopped(StopReason::Poweroff);
        assert!(stopped.may_become(VmState::Starting));
        assert!(stopped.may_become(VmState::Arriving));
        for next in
            [VmState::Running, VmState::Paused, VmState::ShuttingDown, VmState::Rebooting, stopped]
        {
            assert!(!stopped.may_become(next), "{next:?}");
        }
    }

    #[test]
    fn only_a_running_vm_is_moved_and_what_arrives_runs_or_is_discarded() {
        use VmState::{Arriving, Migrating, Paused, Preserved, Rebooting, Running, Saving};
        use VmState::{ShuttingDown, Starting, Stopped, Suspended, Suspending};
        let states = [
            Starting,
            Running,
            Paused,
            ShuttingDown,
            Rebooting,
            Suspending,
            Suspended,
            Saving,
            Migrating,
            Arriving,
            Preserved,
            Stopped(StopReason::Migrated),
        ];
        let before = |next: VmState| -> Vec<VmState> {
            states.into_iter().filter(|state| state.may_become(next)).collect()
        };
        let after = |state: VmState| -> Vec<VmState> {
            states.into_iter().filter(|next| state.may_become(*next)).collect()
        };
        let gone = Stopped(StopReason::Migrated);
        assert_eq!(before(Migrating), [Running]);
        assert_eq!(before(Arriving), [gone]);
        assert_eq!(after(Arriving), [Running, Preserved, gone]);
        assert_eq!(after(Migrating), [Running, Rebooting, Suspended, Preserved, gone]);
    }
}
