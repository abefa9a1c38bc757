//! Is the host heard? Silence is not proof of death: it only stops new placements.

use std::time::Duration;

/// Silence after which a host takes no new VM. Four missed long polls.
pub const HEARTBEAT_LOST_AFTER: Duration = Duration::from_secs(20);

/// What the manager knows of a host's liveness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Never heard since it was added or since the manager started.
    Unknown,
    /// Heard lately.
    Up,
    /// Silent for longer than [`HEARTBEAT_LOST_AFTER`]. Its VMs may well run on.
    Silent,
}

impl Health {
    /// From the time since the last news; `None` when there was none.
    #[must_use]
    pub fn from_silence(silence: Option<Duration>) -> Self {
        match silence {
            None => Self::Unknown,
            Some(silence) if silence <= HEARTBEAT_LOST_AFTER => Self::Up,
            Some(_) => Self::Silent,
        }
    }
}
