//! The limits of a manager, and their defaults.

use std::time::Duration;

use thiserror::Error;
use vmm_core::scheduler::Preference;
use vmm_core::task::turns::Limits;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Every wait, queue and retry of the manager, and how it places.
#[derive(Clone, Debug, PartialEq)]
pub struct ManagerConfig {
    /// How long an agent may keep a heartbeat's long poll. Four of these are [`vmm_core::host::HEARTBEAT_LOST_AFTER`].
    pub poll_wait: Duration,
    /// How long one call to an agent may take beyond the time that the agent itself may take.
    pub call_margin: Duration,
    /// How long an agent may take to build a VM.
    pub build_wait: Duration,
    /// How long an agent may take to write a VM's memory to a file, or to read it, beyond what the guest or the build takes.
    pub transfer_wait: Duration,
    /// How long a call whose outcome is not known is repeated, before the task fails.
    pub unknown_wait: Duration,
    /// The longest time between two attempts to reach an agent.
    pub backoff_max: Duration,
    /// The longest that `WaitTask` waits, whatever is asked for.
    pub task_wait_max: Duration,
    /// The longest that a guest may take to do what it is asked, whatever is asked for.
    pub guest_wait_max: Duration,
    /// Finished tasks that are remembered.
    pub finished_tasks_max: usize,
    /// How long finished tasks are remembered.
    pub finished_tasks_age: Duration,
    /// Tasks that may be under way at once, in the pool and on a host.
    pub task_limits: Limits,
    /// Tasks that may wait for their turn.
    pub queued_tasks_max: usize,
    /// VMs of one bulk operation that are changed at once.
    pub bulk_open_max: usize,
    /// Idempotency keys that are remembered.
    pub idempotency_keys_max: usize,
    /// How long they are.
    pub idempotency_keys_age: Duration,
    /// Whether VMs are spread over hosts, or hosts are filled.
    pub preference: Preference,
}

impl Default for ManagerConfig {
    fn default() -> Self {
        Self {
            poll_wait: Duration::from_secs(5),
            call_margin: Duration::from_secs(5),
            build_wait: Duration::from_secs(120),
            transfer_wait: Duration::from_secs(150),
            unknown_wait: Duration::from_secs(60),
            backoff_max: Duration::from_secs(5),
            task_wait_max: Duration::from_secs(60),
            guest_wait_max: Duration::from_secs(420),
            finished_tasks_max: 4096,
            finished_tasks_age: DAY * 90,
            task_limits: Limits {
                running: 256,
                builds_per_host: 4,
                transfers_per_host: 2,
                light_per_host: 16,
            },
            queued_tasks_max: 4096,
            bulk_open_max: 32,
            idempotency_keys_max: 16_384,
            idempotency_keys_age: DAY * 7,
            preference: Preference::BALANCE,
        }
    }
}

/// A limit that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name} must be at least {least}")]
pub struct ManagerConfigError {
    name: &'static str,
    least: &'static str,
}

impl ManagerConfig {
    /// Gives the limits back when a manager can work with them.
    ///
    /// # Errors
    /// The first that cannot work.
    pub fn validated(self) -> Result<Self, ManagerConfigError> {
        let durations = [
            ("poll_wait", self.poll_wait),
            ("call_margin", self.call_margin),
            ("build_wait", self.build_wait),
            ("transfer_wait", self.transfer_wait),
            ("backoff_max", self.backoff_max),
            ("finished_tasks_age", self.finished_tasks_age),
            ("idempotency_keys_age", self.idempotency_keys_age),
        ];
        if let Some((name, _)) = durations.iter().find(|(_, d)| *d < Duration::from_millis(100)) {
            return Err(ManagerConfigError { name, least: "100 ms" });
        }
        let counts = [
            ("finished_tasks_max", self.finished_tasks_max),
            ("task_limits.running", self.task_limits.running),
            ("task_limits.builds_per_host", self.task_limits.builds_per_host),
            ("task_limits.transfers_per_host", self.task_limits.transfers_per_host),
            ("task_limits.light_per_host", self.task_limits.light_per_host),
            ("queued_tasks_max", self.queued_tasks_max),
            ("bulk_open_max", self.bulk_open_max),
            ("idempotency_keys_max", self.idempotency_keys_max),
        ];
        match counts.iter().find(|(_, count)| *count == 0) {
            Some((name, _)) => Err(ManagerConfigError { name, least: "1" }),
            None => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_limits_that_can_work_are_valid() {
        assert!(ManagerConfig::default().validated().is_ok());
        let no_wait = ManagerConfig { poll_wait: Duration::ZERO, ..ManagerConfig::default() };
        assert!(no_wait.validated().is_err());
        let no_tasks = ManagerConfig { queued_tasks_max: 0, ..ManagerConfig::default() };
        assert!(no_tasks.validated().is_err());
    }
}
