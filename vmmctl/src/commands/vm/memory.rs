//! `vmmctl vm memory`

use clap::Args;
use vmm_proto::v1::{Memory as Outcome, Request, SetMemory, Task};

use super::change::{Ask, change};
use super::targets::{Deed, Targets};
use crate::complete;
use crate::failure::Failure;
use crate::output::mib;
use crate::session::Session;
use crate::size;
use crate::wait::Waiting;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl vm memory web 2G
  vmmctl vm memory web-1 web-2 512M

The reservation grows before the guest does and shrinks after it. Above the VM's --memory-max the guest must hot-add memory.
The guest does it, and is waited for (--timeout). When it did not get there, the exit code is 3.")]
pub(crate) struct Memory {
    /// Names or ids, one or several.
    #[arg(value_name = "VM", required = true, add = complete::vms())]
    vms: Vec<String>,
    /// How much it shall have.
    #[arg(value_name = "SIZE", required = true, value_parser = size::kib)]
    memory: u64,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn run(session: &Session, memory: Memory) -> Result<(), Failure> {
    let memory_kib = memory.memory;
    let ask = async |vm: &str| {
        let (vm, wait_ms_max) = (vm.to_owned(), session.timeout_ms());
        let request = Request::SetMemory(SetMemory { vm, memory_kib, wait_ms_max });
        Ok(Ask::new(request, said).checked(|task| task.memory.as_ref().map_or(Ok(()), check)))
    };
    let targets = Targets::named(memory.vms, false);
    change(session, targets, memory.waiting, Deed::harmless("change the memory of"), ask).await
}

fn said(name: &str, task: Option<&Task>) -> String {
    match task.and_then(|task| task.memory.as_ref()) {
        Some(outcome) => format!("{name}: {}", mib(outcome.reached_kib)),
        None => format!("{name}: done"),
    }
}

fn check(outcome: &Outcome) -> Result<(), Failure> {
    // The agent has waited for the guest; where it did not get there, it says so.
    if outcome.note.is_empty() {
        return Ok(());
    }
    let (asked, reached) = (mib(outcome.asked_kib), mib(outcome.reached_kib));
    Err(Failure::FellShort(format!("asked for {asked}, the guest has {reached}. {}", outcome.note)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_does_not_get_there_is_exit_code_3() {
        let outcome = |reached_kib, note: &str| Outcome {
            asked_kib: 262_144,
            reached_kib,
            note: note.to_owned(),
        };
        assert!(check(&outcome(262_144, "")).is_ok());
        assert!(check(&outcome(262_140, "")).is_ok());
        assert_eq!(check(&outcome(131_072, "no further")).expect_err("less").exit_code(), 3);
    }
}
