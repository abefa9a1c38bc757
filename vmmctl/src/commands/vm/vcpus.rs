//! `vmmctl vm vcpus`

use clap::Args;
use vmm_proto::v1::{Request, SetVcpus, Vcpus as Outcome};

use crate::commands::tell;
use crate::failure::Failure;
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
    let online = task.vcpus.as_ref().map(|outcome| format!("{} vCPUs online", outcome.online));
    let said = format!("{}: {}", task.vm_name, online.as_deref().unwrap_or("done"));
    tell::task(&session.look, &task, &said)?;
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
