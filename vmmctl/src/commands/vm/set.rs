//! `vmmctl vm set`

use clap::Args;
use vmm_proto::v1::{Autostart, ConfigureVm, Request};

use super::devices::definition;
use super::policy::Policy;
use crate::commands::tell;
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::done;

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
    /// Name or id.
    vm: String,
    #[command(flatten)]
    policy: Policy,
    /// Do not start it with its host.
    #[arg(long, conflicts_with = "autostart")]
    no_autostart: bool,
}

pub(super) async fn run(session: &Session, set: Set) -> Result<(), Failure> {
    let before = definition(session, &set.vm).await?;
    let never = Autostart { enabled: false, order: 0, delay_s: 0 };
    let configure = ConfigureVm {
        memory_min_kib: set.policy.memory_min,
        scheduling: set.policy.scheduling(&before),
        on_event: set.policy.on_event(&before),
        autostart: set.policy.autostart().or(set.no_autostart.then_some(never)),
        vm: set.vm,
    };
    let task = done(session, Request::ConfigureVm(configure)).await?;
    tell::task(&session.look, &task, &format!("{} is set", task.vm_name))
}
