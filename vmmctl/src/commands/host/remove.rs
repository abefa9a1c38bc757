//! `vmmctl host remove`

use clap::Args;
use vmm_proto::v1::{RemoveHost, Reply, Request};

use crate::failure::Failure;
use crate::output::print;
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
            print(session.format, &done, |_| format!("host {host} is out of the pool\n"))
        }
        other => Err(unexpected(&other)),
    }
}
