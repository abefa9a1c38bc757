//! `vmmctl vm rename`

use clap::Args;
use vmm_proto::v1::{RenameVm, Request};

use crate::commands::tell;
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::done;

#[derive(Debug, Args)]
#[command(after_help = "Example: vmmctl vm rename web shop")]
pub(crate) struct Rename {
    /// Name or id.
    vm: String,
    /// Unique in the pool: 1 to 63 letters, digits, '.', '_' or '-'.
    name: String,
}

pub(super) async fn run(session: &Session, rename: Rename) -> Result<(), Failure> {
    let Rename { vm, name } = rename;
    let task = done(session, Request::RenameVm(RenameVm { vm, name: name.clone() })).await?;
    tell::task(&session.look, &task, &format!("{} is {name} now", task.vm_name))
}
