//! `vmmctl vm rename`

use clap::Args;
use vmm_proto::v1::{RenameVm, Request};

use super::change::{Ask, change};
use super::targets::{Deed, Targets};
use crate::complete;
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::Waiting;

#[derive(Debug, Args)]
#[command(after_help = "Example: vmmctl vm rename web shop")]
pub(crate) struct Rename {
    /// Name or id.
    #[arg(add = complete::vms())]
    vm: String,
    /// Unique in the pool: 1 to 63 letters, digits, '.', '_' or '-'.
    name: String,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn run(session: &Session, rename: Rename) -> Result<(), Failure> {
    let Rename { vm, name, waiting } = rename;
    let ask = async |vm: &str| {
        let request = RenameVm { vm: vm.to_owned(), name: name.clone() };
        let new = name.clone();
        Ok(Ask::new(Request::RenameVm(request), move |old, _| format!("{old} is {new} now")))
    };
    let one = Targets::named(vec![vm], false);
    change(session, one, waiting, Deed::harmless("rename"), ask).await
}
