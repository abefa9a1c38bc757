//! `vmmctl vm set`

use clap::Args;
use vmm_proto::v1::{Autostart, ConfigureVm, Request};

use super::change::{Ask, change};
use super::devices::definition;
use super::policy::Policy;
use super::targets::{Deed, Targets};
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::Waiting;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl vm set web --weight 512 --cap 150
  vmmctl vm set web --cpus 0-3 --cpus-soft 0,1
  vmmctl vm set web --on-crash restart --autostart 10:30
  vmmctl vm set web --no-autostart

What is not said stays as it is. It needs nothing of the guest: a VM may run, be paused,
suspended, saved or stopped.")]
pub(crate) struct Set {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    policy: Policy,
    /// Do not start it with its host.
    #[arg(long, conflicts_with = "autostart")]
    no_autostart: bool,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn run(session: &Session, set: Set) -> Result<(), Failure> {
    let Set { targets, policy, no_autostart, waiting } = set;
    let never = Autostart { enabled: false, order: 0, delay_s: 0 };
    let ask = async |vm: &str| {
        let before = definition(session, vm).await?;
        let configure = ConfigureVm {
            vm: vm.to_owned(),
            memory_min_kib: policy.memory_min,
            scheduling: policy.scheduling(&before),
            on_event: policy.on_event(&before),
            autostart: policy.autostart().or(no_autostart.then_some(never)),
        };
        Ok(Ask::new(Request::ConfigureVm(configure), |name, _| format!("{name} is set")))
    };
    change(session, targets, waiting, Deed::harmless("set"), ask).await
}
