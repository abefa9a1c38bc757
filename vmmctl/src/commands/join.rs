//! `vmmctl join`.

use std::path::PathBuf;
use std::sync::Arc;

use vmm_proto::client::TcpConnector;
use vmm_proto::clock::SystemClock;
use vmm_proto::enrolment::{self, JoinError, JoinToken};
use vmm_proto::principal::Role;

use crate::failure::Failure;

/// Makes credentials of one's own.
pub(crate) async fn run(
    manager: String,
    directory: PathBuf,
    token: &JoinToken,
) -> Result<(), Failure> {
    let connector = TcpConnector::new(manager);
    let joined = enrolment::join(&connector, token, &directory, None, Arc::new(SystemClock)).await;
    let credentials = joined.map_err(|error| match error {
        JoinError::Connect { .. } | JoinError::Tls { .. } => {
            Failure::Unreachable(error.to_string())
        }
        JoinError::Fault(fault) => Failure::Fault(fault),
        error => Failure::Local(error.to_string()),
    })?;
    let principal = credentials.principal();
    println!("{principal}: credentials are in {}", directory.display());
    if principal.role == Role::Agent {
        println!("they are a host's: use `vmm-agent join` there");
    }
    Ok(())
}
