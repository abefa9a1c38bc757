//! `vmmctl vm delete`

use clap::Args;
use vmm_proto::v1::{DeleteVm, Reply, Request};

use crate::failure::Failure;
use crate::output::print;
use crate::session::{Session, unexpected};

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Name or id.
    vm: String,
}

pub(super) async fn run(session: &Session, delete: Delete) -> Result<(), Failure> {
    let vm = delete.vm;
    match session.call(Request::DeleteVm(DeleteVm { vm: vm.clone() })).await? {
        Reply::Done(done) => print(session.format, &done, |_| format!("{vm} is forgotten\n")),
        other => Err(unexpected(&other)),
    }
}
