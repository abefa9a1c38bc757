//! Calls to an agent until the outcome is known, or the patience ends.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vmm_core::id::HostId;
use vmm_proto::v1::{Fault, FaultCode, Reply};

use crate::agents::{AgentCall, AgentError};
use crate::app::App;

/// The first wait between two attempts; doubles up to the configured maximum.
pub(super) const BACKOFF_FIRST: Duration = Duration::from_millis(200);

/// How long to go on when no reply comes.
pub(crate) struct Caution<'a> {
    /// From the first attempt without a reply.
    pub(crate) patience: Duration,
    /// Ends the repetitions, never a call.
    pub(crate) cancel: Option<&'a CancellationToken>,
}

/// How a call ended without a good reply.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The agent said no.
    No {
        fault: Fault,
        /// After earlier attempts whose replies were lost.
        repeated: bool,
    },
    /// It may have been carried out.
    Unknown(Fault),
}

impl Failure {
    pub(crate) fn into_fault(self) -> Fault {
        match self {
            Self::No { fault, .. } | Self::Unknown(fault) => fault,
        }
    }
}

impl App {
    /// Repeats a call, which carries a key, until it has a definite outcome.
    pub(crate) async fn call_until_known(
        &self,
        host: HostId,
        call: AgentCall,
        caution: Caution<'_>,
    ) -> Result<Reply, Failure> {
        let mut give_up: Option<Instant> = None;
        let mut backoff = BACKOFF_FIRST;
        loop {
            let detail = match self.call_once(host, call.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(AgentError::Fault(fault)) if fault.code == FaultCode::Busy => fault.message,
                Err(AgentError::Fault(fault)) => {
                    return Err(Failure::No { fault, repeated: give_up.is_some() });
                }
                Err(AgentError::NoReply(detail)) => detail,
            };
            let end = *give_up.get_or_insert(Instant::now() + caution.patience);
            let cancelled = caution.cancel.is_some_and(CancellationToken::is_cancelled);
            if cancelled || Instant::now() >= end {
                return Err(Failure::Unknown(self.no_reply(host, &detail)));
            }
            let pause = tokio::time::sleep(self.jittered(backoff));
            match caution.cancel {
                Some(cancel) => tokio::select! { () = cancel.cancelled() => {} () = pause => {} },
                None => pause.await,
            }
            backoff = (backoff * 2).min(self.config.backoff_max);
        }
    }

    /// One attempt.
    pub(crate) async fn call_once(
        &self,
        host: HostId,
        call: AgentCall,
    ) -> Result<Reply, AgentError> {
        let Some(address) = self.address_of(host) else {
            let fault = Fault::new(FaultCode::UnknownHost, "the host was removed from the pool");
            return Err(AgentError::Fault(fault));
        };
        let hop = format!("agent {}", address.host);
        self.agents.call(address, call).await.map_err(|error| match error {
            AgentError::Fault(fault) => AgentError::Fault(fault.at(&hop)),
            no_reply => no_reply,
        })
    }

    /// For a caller: nobody knows whether it was done.
    pub(crate) fn no_reply(&self, host: HostId, detail: &str) -> Fault {
        let name = self.lock().host_name(host);
        let message =
            format!("no reply from the agent of host {name} ({detail}); check it, then look again");
        Fault::new(FaultCode::HostUnreachable, message)
    }
}
