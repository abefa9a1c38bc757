//! What ends a command early, and the exit code that it gives.
//!
//! Exit codes are a contract with scripts: a code keeps its meaning, and new meanings get new codes. [`EXIT_CODES`] is what `--help`
//! and the README say.

use thiserror::Error;
use vmm_proto::client::CallError;
use vmm_proto::v1::{Fault, FaultCode};

/// Each code and what it means, in words for `--help`.
pub(crate) const EXIT_CODES: &[(u8, &str)] = &[
    (0, "done"),
    (1, "refused, or failed, for a reason that has no code of its own"),
    (2, "wrong usage, or no credentials"),
    (3, "the guest did not do all that was asked, or not in time"),
    (4, "the manager, or the host that is needed, cannot be reached"),
    (5, "not found: a VM, host, pool, site, group, task, or a file on a host"),
    (6, "conflict: a name is taken, or the VM is not in a state for this"),
    (7, "denied: your role does not allow it"),
    (8, "the task began and failed, or was cancelled, and was taken back"),
    (9, "timed out; a task that was waited for goes on"),
    (10, "no room: no host can take the VM, or one has not enough memory"),
    (130, "interrupted; a task that was waited for goes on"),
];

/// Which of several is the one to report: the gravest first.
const GRAVITY: &[u8] = &[130, 4, 7, 2, 8, 1, 9, 10, 6, 5, 3];

/// Why a command did not do what was asked.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The manager or an agent said no.
    #[error("{0}")]
    Fault(Fault),
    /// A task began and was not done.
    #[error("{0}")]
    Task(Fault),
    /// It cannot be asked like this.
    #[error("{0}")]
    Usage(String),
    /// Nothing is called so.
    #[error("{0}")]
    NotFound(String),
    /// The guest did some of it.
    #[error("{0}")]
    FellShort(String),
    /// The manager cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// It took longer than it was given.
    #[error("{0}")]
    TimedOut(String),
    /// Ctrl-C.
    #[error("{0}")]
    Interrupted(String),
    /// Something here.
    #[error("{0}")]
    Local(String),
    /// Some of several; each was told.
    #[error("{message}")]
    Several {
        /// Of the gravest.
        exit_code: u8,
        /// How many.
        message: String,
    },
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Fault(fault) => code_of(fault.code).unwrap_or(1),
            Self::Task(fault) => code_of(fault.code).unwrap_or(8),
            Self::Local(_) => 1,
            Self::Usage(_) => 2,
            Self::FellShort(_) => 3,
            Self::Unreachable(_) => 4,
            Self::NotFound(_) => 5,
            Self::TimedOut(_) => 9,
            Self::Interrupted(_) => 130,
            Self::Several { exit_code, .. } => *exit_code,
        }
    }

    /// What to do next, where what was said does not say it.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        let (Self::Fault(fault) | Self::Task(fault)) = self else {
            return None;
        };
        match fault.code {
            FaultCode::Denied => {
                Some("ask the pool's operator for a role that may: vmm-manager invite user --role")
            }
            FaultCode::Busy => Some("try again in some seconds"),
            FaultCode::HostUnreachable => {
                Some("look at the host with `vmmctl host list` and `vmmctl doctor tls HOST`")
            }
            FaultCode::Unsupported => Some("the manager is older than this vmmctl: update it"),
            _ => None,
        }
    }
}

/// The code that a fault has of its own.
fn code_of(code: FaultCode) -> Option<u8> {
    match code {
        FaultCode::HostUnreachable => Some(4),
        FaultCode::UnknownVm
        | FaultCode::UnknownHost
        | FaultCode::UnknownTask
        | FaultCode::UnknownPool
        | FaultCode::UnknownSite
        | FaultCode::UnknownGroup
        | FaultCode::FileNotFound => Some(5),
        FaultCode::BadState | FaultCode::Conflict | FaultCode::IdempotencyMismatch => Some(6),
        FaultCode::Denied => Some(7),
        FaultCode::TimedOut => Some(9),
        FaultCode::NoCapacity | FaultCode::OutOfMemory => Some(10),
        _ => None,
    }
}

/// The gravest of several exit codes; 0 of none.
pub(crate) fn gravest(codes: impl IntoIterator<Item = u8>) -> u8 {
    let rank = |code: &u8| GRAVITY.iter().position(|grave| grave == code);
    codes.into_iter().filter(|code| *code != 0).min_by_key(rank).unwrap_or(0)
}

/// The table of exit codes, for `--help`.
pub(crate) fn exit_codes() -> String {
    let line = |(code, means): &(u8, &str)| format!("  {code:>3}  {means}\n");
    EXIT_CODES.iter().map(line).collect()
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Fault(fault) => Self::Fault(fault),
            other => Self::Unreachable(format!(
                "{other}; check --manager, --credentials and that the manager runs"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_the_exit_code_that_the_table_says() {
        for (code, refused, in_task) in [
            (FaultCode::UnknownVm, 5, 5),
            (FaultCode::FileNotFound, 5, 5),
            (FaultCode::UnknownPool, 5, 5),
            (FaultCode::BadState, 6, 6),
            (FaultCode::Conflict, 6, 6),
            (FaultCode::Denied, 7, 7),
            (FaultCode::TimedOut, 9, 9),
            (FaultCode::NoCapacity, 10, 10),
            (FaultCode::HostUnreachable, 4, 4),
            (FaultCode::BadRequest, 1, 8),
            (FaultCode::Cancelled, 1, 8),
            (FaultCode::HostFailed, 1, 8),
        ] {
            let codes = [Failure::Fault, Failure::Task]
                .map(|failure| failure(Fault::new(code, "x")).exit_code());
            assert_eq!(codes, [refused, in_task], "{code:?}");
        }
    }

    #[test]
    fn the_readme_and_the_gravity_know_every_code() {
        let readme = include_str!("../README.md");
        for (code, means) in EXIT_CODES {
            assert!(readme.contains(&format!("| {code} | {means} |")), "{code} {means}");
            assert!(*code == 0 || GRAVITY.contains(code), "{code} has no gravity");
        }
    }

    #[test]
    fn the_gravest_of_several_is_reported() {
        assert_eq!(gravest([]), 0);
        assert_eq!(gravest([0, 0]), 0);
        assert_eq!(gravest([0, 3, 6]), 6);
        assert_eq!(gravest([5, 4, 8]), 4);
    }
}
