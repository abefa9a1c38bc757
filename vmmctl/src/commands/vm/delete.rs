//! `vmmctl vm delete`

use clap::Args;
use vmm_proto::v1::{DeleteVm, Request};

use super::change::{Ask, change};
use super::targets::{Deed, Targets};
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::Waiting;

#[derive(Debug, Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    targets: Targets,
}

pub(super) async fn run(session: &Session, delete: Delete) -> Result<(), Failure> {
    let deed = Deed { verb: "delete", loses: Some("Definitions are lost, disks stay.") };
    let ask = async |vm: &str| {
        let request = Request::DeleteVm(DeleteVm { vm: vm.to_owned() });
        Ok(Ask::new(request, |name, _| format!("{name} is forgotten")))
    };
    change(session, delete.targets, Waiting::default(), deed, ask).await
}
