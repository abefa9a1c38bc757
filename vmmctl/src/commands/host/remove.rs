//! `vmmctl host remove`

use clap::Args;
use vmm_proto::v1::{RemoveHost, Reply, Request};

use crate::commands::tell;
use crate::failure::Failure;
use crate::session::{Session, unexpected};

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Name or id.
    host: String,
}

pub(super) async fn run(session: &Session, remove: Remove) -> Result<(), Failure> {
    let host = remove.host;
    match session.call(Request::RemoveHost(RemoveHost { host: host.clone() })).await? {
        Reply::Done(done) => {
            let said = format!("host {host} is out of the pool");
            tell::named(&session.look, &host, done, &said)
        }
        other => Err(unexpected(&other)),
    }
}
