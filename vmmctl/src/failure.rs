//! What ends a command early, and the exit code that it gives.

use thiserror::Error;
use vmm_proto::client::CallError;
use vmm_proto::v1::Fault;

/// Why a command did not do what was asked.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The manager or an agent said no, or a task failed.
    #[error("{0}")]
    Fault(Fault),
    /// It cannot be asked like this.
    #[error("{0}")]
    Usage(String),
    /// The guest did some of it.
    #[error("{0}")]
    FellShort(String),
    /// The manager cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// Ctrl-C.
    #[error("{0}")]
    Interrupted(String),
    /// Something here.
    #[error("{0}")]
    Local(String),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Fault(_) | Self::Local(_) => 1,
            Self::Usage(_) => 2,
            Self::FellShort(_) => 3,
            Self::Unreachable(_) => 4,
            Self::Interrupted(_) => 130,
        }
    }
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
