//! `vmmctl vm vcpus`

use clap::Args;
use vmm_proto::v1::{Request, SetVcpus, Vcpus as Outcome};

use crate::failure::Failure;
use crate::output::print;
use crate::session::Session;
use crate::wait::done;

#[derive(Debug, Args)]
#[command(after_help = "\
Example: vmmctl vm vcpus web 4

The guest does it, and is waited for (--timeout). When it brought fewer or more online than asked, the exit code is 3.")]
pub(crate) struct Vcpus {
    /// Name or id.
    vm: String,
    /// How many shall be online: 1 to the VM's --vcpus-max.
    count: u32,
}

pub(super) async fn run(session: &Session, vcpus: Vcpus) -> Result<(), Failure> {
    let Vcpus { vm, count } = vcpus;
    let set = SetVcpus { vm, vcpus: count, wait_ms_max: session.timeout_ms() };
    let task = done(session, Request::SetVcpus(set)).await?;
    print(session.format, &task, |task| match &task.vcpus {
        Some(outcome) => format!("{}: {} vCPUs online\n", task.vm_name, outcome.online),
        None => format!("{}: done\n", task.vm_name),
    })?;
    task.vcpus.as_ref().map_or(Ok(()), check)
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
