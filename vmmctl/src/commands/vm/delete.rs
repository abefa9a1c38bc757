//! `vmmctl vm delete`

use clap::Args;
use vmm_proto::v1::{DeleteVm, Reply, Request};

use crate::commands::tell;
use crate::failure::Failure;
use crate::session::{Session, unexpected};

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Name or id.
    vm: String,
}

pub(super) async fn run(session: &Session, delete: Delete) -> Result<(), Failure> {
    let vm = delete.vm;
    match session.call(Request::DeleteVm(DeleteVm { vm: vm.clone() })).await? {
        Reply::Done(done) => tell::named(&session.look, &vm, done, &format!("{vm} is forgotten")),
        other => Err(unexpected(&other)),
    }
}
