//! `vmmctl host maintenance`

use clap::{Args, ValueEnum};
use vmm_proto::v1::{Reply, Request, SetMaintenance};

use crate::commands::tell;
use crate::complete;
use crate::failure::Failure;
use crate::session::{Session, unexpected};

#[derive(Debug, Args)]
#[command(after_help = "Example: vmmctl host maintenance host-1 on")]
pub(crate) struct Maintenance {
    /// Name or id.
    #[arg(add = complete::hosts())]
    host: String,
    /// on: takes no new VM; off: takes VMs again.
    #[arg(value_enum)]
    state: Switch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

pub(super) async fn run(session: &Session, maintenance: Maintenance) -> Result<(), Failure> {
    let Maintenance { host, state } = maintenance;
    let set = SetMaintenance { host: host.clone(), maintenance: state == Switch::On };
    match session.call(Request::SetMaintenance(set)).await? {
        Reply::Done(done) => {
            let said = match state {
                Switch::On => format!("host {host} takes no new VM"),
                Switch::Off => format!("host {host} takes VMs again"),
            };
            tell::named(&session.look, &host, done, &said)
        }
        other => Err(unexpected(&other)),
    }
}
