//! `vmmctl vm vcpus`

use clap::Args;
use vmm_proto::v1::{Request, SetVcpus, Task, Vcpus as Outcome};

use super::change::{Ask, change};
use super::targets::{Deed, Targets};
use crate::complete;
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::Waiting;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl vm vcpus web 4
  vmmctl vm vcpus web-1 web-2 web-3 2

The guest does it, and is waited for (--timeout). When it brought fewer or more online than asked, the exit code is 3.")]
pub(crate) struct Vcpus {
    /// Names or ids, one or several.
    #[arg(value_name = "VM", required = true, add = complete::vms())]
    vms: Vec<String>,
    /// How many shall be online: 1 to the VM's --vcpus-max.
    #[arg(required = true)]
    count: u32,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn run(session: &Session, vcpus: Vcpus) -> Result<(), Failure> {
    let count = vcpus.count;
    let ask = async |vm: &str| {
        let (vm, wait_ms_max) = (vm.to_owned(), session.timeout_ms());
        let request = Request::SetVcpus(SetVcpus { vm, vcpus: count, wait_ms_max });
        Ok(Ask::new(request, said).checked(|task| task.vcpus.as_ref().map_or(Ok(()), check)))
    };
    let targets = Targets::named(vcpus.vms, false);
    change(session, targets, vcpus.waiting, Deed::harmless("change the vCPUs of"), ask).await
}

fn said(name: &str, task: Option<&Task>) -> String {
    match task.and_then(|task| task.vcpus.as_ref()) {
        Some(outcome) => format!("{name}: {} vCPUs online", outcome.online),
        None => format!("{name}: done"),
    }
}

fn check(outcome: &Outcome) -> Result<(), Failure> {
    if outcome.online == outcome.asked {
        return Ok(());
    }
    let Outcome { asked, online, note } = outcome;
    Err(Failure::FellShort(format!(
        "asked for {asked} vCPUs, the guest has {online} online. {note}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_does_less_is_exit_code_3() {
        let outcome = |online| Outcome { asked: 4, online, note: "timed out".into() };
        assert!(check(&outcome(4)).is_ok());
        assert_eq!(check(&outcome(2)).expect_err("less").exit_code(), 3);
    }
}
