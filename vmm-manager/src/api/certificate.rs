//! RenewCertificate: users have their own keys signed again.

use vmm_proto::server::Caller;
use vmm_proto::v1::{Fault, RenewCertificate, Reply};

use super::office;
use crate::app::App;

/// For whoever asks, and as nobody else.
pub(super) fn renew(app: &App, caller: &Caller, renew: &RenewCertificate) -> Result<Reply, Fault> {
    let signed = office(app)?.sign(&renew.signing_request, &caller.principal)?;
    tracing::info!(principal = %caller.principal, "a certificate was renewed");
    Ok(Reply::Certificate(signed))
}
